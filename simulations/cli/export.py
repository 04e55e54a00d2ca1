"""``fedssl export``."""

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.shared import clear_errors, err, fail, out, print_own_code


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run, or its model.safetensors.")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="torchvision|timm|onnx|safetensors",
            help="Which tool it is for; `onnx` needs onnx and onnxscript.",
        ),
    ] = "safetensors",
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The file. Default: `encoder-FORMAT.safetensors` or `.onnx`, in RUN.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a run's trained encoder for another tool, and say how to load it there.

    Of a run that is not finished it is the encoder of the newest finished round, as its checkpoint
    has it.

    `torchvision` and `timm` are for their own networks and our resnet18, 34 and 50: a state dict
    with that library's names. `onnx` is the network itself, for any number of examples.
    `safetensors` is the encoder's tensors by our names.

    For example:

        fedssl export runs/quickstart --format onnx
        fedssl export runs/resnet --format torchvision --out resnet18.safetensors
    """
    with clear_errors():
        from fedssl.models.export import check_format, default_export_file, write
        from simulations.running.trained_model import load_trained_model

        try:
            check_format(form)
            if not (run / "model.safetensors").exists():
                print_own_code(run)
            model = load_trained_model(
                run, lambda text: err.print(text, markup=False, soft_wrap=True)
            )
            file = out_file or default_export_file(run if run.is_dir() else run.parent, form)
            lines = write(model.state, model.about, form, file)
        except ValueError as error:
            fail(str(error))
        which = f" ({model.unfinished})" if model.unfinished else ""
        out.print(f"encoder: {file}{which}\nload it with:\n", markup=False, soft_wrap=True)
        out.print(
            "\n".join(f"    {line}".rstrip() for line in lines.splitlines()),
            markup=False,
            soft_wrap=True,
        )
