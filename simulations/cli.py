"""The command ``fedssl``.

    fedssl run configs/quickstart.yaml
    fedssl show configs/quickstart.yaml
    fedssl list

PyTorch and Flower take seconds to import, so each command imports what it needs when it runs.
"""

import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from simulations.experiment import Experiment

# Flower reports its use over the network unless told not to, before it is imported.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
# What Flower's own strategies log would break into the display, which tells the same.
logging.getLogger("flwr").setLevel(logging.ERROR)

app = typer.Typer(
    name="fedssl",
    help="Study, compare and deploy federated self-supervised learning.",
    epilog="Start with: fedssl init my.yaml && fedssl run my.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

ConfigPath = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Fields that differ from the file, such as `rounds=5 strategy.name=ldawa`.",
        show_default=False,
    ),
]
Engine = Annotated[
    str | None, typer.Option(help="Where the clients run; the same as `engine.name=…`.")
]
Device = Annotated[
    str | None,
    typer.Option(help="`cpu` or `cuda`; the same as `engine.device=…`.", show_default=False),
]


@app.command("run")
def run_command(
    config: ConfigPath,
    overrides: Overrides = None,
    engine: Engine = None,
    device: Device = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The run's folder. Default: the first free of `runs/NAME`, `runs/NAME-2`, …",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on after the last finished round of `--out`, or of the newest `runs/NAME`; "
            "the result is the same to the bit.",
        ),
    ] = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Tell where each round's time went: prints a table of views, step, merge, probe, "
            "save, engine (all else) and wait; writes `profile/profile.csv`, and "
            "`profile/trace.json` for [ui.perfetto.dev](https://ui.perfetto.dev) or "
            "chrome://tracing. The result is the same to the bit. Each local step adds about 200 "
            "bytes to the trace, so profile a few rounds of a long run; on a GPU it costs speed.",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only where the run lies.")] = False,
) -> None:
    """Run an experiment and write its run folder and report.

    Each round draws a cohort of clients, lets each train the global model on its own images,
    merges the results and probes the merged encoder centrally.

    Ctrl-C stops it; all finished rounds are kept, and `--resume` goes on from there.

    For example:

        fedssl run configs/quickstart.yaml
        fedssl run configs/quickstart.yaml rounds=5 strategy.name=ldawa --out runs/try
        fedssl run configs/quickstart.yaml --resume
        fedssl run configs/quickstart.yaml rounds=2 --profile
    """
    with _clear_errors():
        from simulations.display import Lines, Live, Quiet
        from simulations.run_folder import new_folder, newest_folder
        from simulations.runner import run

        experiment = _experiment(config, overrides, engine, device)
        newest = newest_folder(config.stem) if resume else None
        made = None if out_folder or newest else new_folder(config.stem)
        folder = out_folder or newest or made
        assert folder is not None
        display = Quiet() if quiet else (Live if out.is_terminal else Lines)(out)
        try:
            run(experiment, folder, resume=resume, profile=profile, display=display)
        except KeyboardInterrupt:
            words = ["fedssl", "run", str(config), *_all(overrides, engine, device)]
            again = shlex.join([*words, "--resume", "--out", str(folder)])
            err.print(f"\nstopped; go on with: {again}", markup=False, soft_wrap=True)
            raise typer.Exit(130) from None
        finally:
            if made and not any(made.iterdir()):
                made.rmdir()
        out.print(f"report: {folder / 'report.html'}", markup=False, soft_wrap=True)


@app.command()
def show(
    config: ConfigPath,
    overrides: Overrides = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the picture of the partition. Default: `runs/NAME-partition.png`.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what a config means, without training.

    Prints the resolved config, the model's size and the partition, and draws a picture of which
    client has how many images of which class.
    """
    with _clear_errors():
        from simulations.show import describe, draw

        experiment = _experiment(config, overrides)
        prepared = describe(experiment, out)
        target = picture or Path("runs") / f"{config.stem}-partition.png"
        draw(prepared, target)
        out.print(f"picture: {target}", markup=False, soft_wrap=True)


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
) -> None:
    """Draw a run's plots and write its `report.html`, also while it is still running."""
    with _clear_errors():
        from simulations.reporting import report as write_report

        out.print(f"report: {write_report(run_folder)}", markup=False, soft_wrap=True)


@app.command()
def init(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write, such as my.yaml.")
    ],
) -> None:
    """Write a commented config to start from: an experiment that runs as it is, in minutes."""
    if path.exists():
        _fail(f"{path}: exists already; give a name that is free")
    starter = Path(__file__).with_name("starter.yaml")
    try:
        path.write_text(starter.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        _fail(f"{path}: cannot be written: {error.strerror}")
    out.print(f"wrote {path}; run it with: fedssl run {path}", markup=False, soft_wrap=True)


@app.command("list")
def list_command() -> None:
    """List objectives, strategies, encoders, data sets, partitions and engines.

    Each with a line on when to use it. Wherever a config names one of the first four, a dotted
    path such as `my_module.MyClass` works too.
    """
    with _clear_errors():
        from simulations.listing import listing

        out.print(listing())


@app.command()
def schema() -> None:
    """Print the JSON schema of a config, with which editors complete and check it.

    For example:

        fedssl schema > fedssl.schema.json

    then begin a config with `# yaml-language-server: $schema=fedssl.schema.json`.
    """
    from simulations.experiment import Experiment

    sys.stdout.write(json.dumps(Experiment.model_json_schema(), indent=2) + "\n")


@app.command()
def bench(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Fewer and smaller measurements, under a minute; no peers."),
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the figures to this file, too.", show_default=False),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="PEER[,PEER]",
            help="Also measure `flower` (its simulation), `pfl` (Apple's) and `lightly`; one that "
            "is not installed is skipped with the reason.",
            show_default=False,
        ),
    ] = None,
    growth_folder: Annotated[
        Path | None,
        typer.Option(
            "--growth",
            help="Measure instead how time and memory grow with clients per round, model size and "
            "image size, and write `growth.png` and `growth.json` there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure how fast fedssl is on this machine, against references measured in the same run.

    A ratio is ours divided by the reference's; the spread is half the distance of its quartiles.
    The whole takes about ten minutes, and as long again with peers. Let nothing else run meanwhile.

    For example:

        fedssl bench --quick
        fedssl bench --json bench.json --against flower,pfl,lightly
        fedssl bench --growth growth/
    """
    with _clear_errors():
        from fedssl.fields import nearest
        from simulations.bench import bench as measure
        from simulations.bench.against import PEERS
        from simulations.bench.growth import growth
        from simulations.bench.table import as_json, as_table
        from simulations.files import replace_text

        names = [name.strip() for name in (peers or "").split(",") if name.strip()]
        for name in names:
            if name not in PEERS:
                _fail(f"--against {name}: there is no such peer; {nearest(name, list(PEERS))}")
        if quick and names:
            _fail("--quick measures against no peers; leave out --quick or --against")
        if json_file and not json_file.absolute().parent.is_dir():
            _fail(f"--json {json_file}: there is no such folder")
        with err.status("measuring") as status:

            def began(name: str) -> None:
                status.update(f"measuring {name}")
                if not err.is_terminal:
                    err.print(f"measuring {name}")

            if growth_folder:
                growth(growth_folder, quick, lambda what, n, of: began(f"{what} ({n} of {of})"))
                out.print(f"picture: {growth_folder / 'growth.png'}", markup=False, soft_wrap=True)
                return
            figures = measure(quick=quick, peers=names, began=began)
        out.print(as_table(figures))
        if json_file:
            replace_text(json_file, as_json(figures))


def _experiment(
    config: Path, overrides: list[str] | None, engine: str | None = None, device: str | None = None
) -> "Experiment":
    from simulations.experiment import load_experiment

    # A dotted path may name a module beside the person, as `python -m` would find it.
    sys.path.append(os.getcwd())
    return load_experiment(config, _all(overrides, engine, device))


def _all(overrides: list[str] | None, engine: str | None, device: str | None) -> list[str]:
    extra = [f"engine.name={engine}"] * bool(engine) + [f"engine.device={device}"] * bool(device)
    return [*(overrides or []), *extra]


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Print what a person can mend as a message, without a traceback."""
    try:
        yield
    except Exception as error:
        from simulations import ConfigError, RunError

        if not isinstance(error, (ConfigError, RunError, OSError)):
            raise
        _fail(str(error))


def _fail(message: str) -> None:
    err.print("[bold red]error:[/] ", end="")
    err.print(message, markup=False, soft_wrap=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
