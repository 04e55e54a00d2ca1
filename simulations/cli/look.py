"""``fedssl show``, ``report``, ``init``, ``list`` and ``schema``: all that trains nothing."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.shared import ConfigPath, Overrides, clear_errors, err, fail, load, out


def show(
    config: ConfigPath,
    overrides: Overrides = None,
    views: Annotated[
        bool,
        typer.Option("--views", help="Show the views that clients train on, in place of the rest."),
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Also draw a picture, into this PNG file: which client has how many examples of "
            "which class, or with `--views` some examples and their views.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what a config means, without training.

    Prints the resolved config, and in comments the model's size and the partition; or with
    `--views` the steps of the views and their sizes. What it prints is YAML that loads.

    For example:

        fedssl show configs/quickstart.yaml
        fedssl show configs/quickstart.yaml rounds=50 > mine.yaml
        fedssl show configs/quickstart.yaml --picture partition.png
        fedssl show configs/quickstart.yaml views=byol --views --picture byol.png
    """
    with clear_errors():
        from simulations.reports import experiment_summary as show
        from simulations.reports import view_sheet as contact_sheet

        experiment = load(config, overrides)
        prepared = (show.describe_views if views else show.describe)(experiment, out)
        if picture is not None:
            (contact_sheet if views else show).draw(prepared, picture)
            err.print(f"picture: {picture}", soft_wrap=True)


def report(
    run_folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder of a run, or of a comparison.")
    ],
) -> None:
    """Draw plots and write `report.html`, of a run or a comparison, also while it goes on.

    Of a comparison it also prints the tables, and writes `results.csv`, `summary.json`, `table.md`
    and `table.tex`.
    """
    with clear_errors():
        from simulations.comparing.plan import PlanFile

        if PlanFile(run_folder).exists():
            from simulations.comparing.report import report as write_comparison

            page = write_comparison(run_folder, out)
            out.print(f"report: {page}", markup=False, soft_wrap=True)
            return
        from simulations.reports.run_report import report as write_report

        out.print(f"report: {write_report(run_folder)}", markup=False, soft_wrap=True)


def init(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write, such as my.yaml.")
    ],
) -> None:
    """Write a commented config to start from: an experiment that runs as it is, in minutes."""
    from simulations.record.files import replace_text

    if path.exists():
        fail(f"{path}: exists already; give a name that is free")
    starter = Path(__file__).parents[1] / "starter.yaml"
    try:
        replace_text(path, starter.read_text(encoding="utf-8"))
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror}")
    out.print(f"wrote {path}; run it with: fedssl run {path}", markup=False, soft_wrap=True)


def list_parts(
    as_markdown: Annotated[
        bool,
        typer.Option(
            "--markdown", help="Print a page in Markdown, with the fields of each: the reference."
        ),
    ] = False,
) -> None:
    """List all that a config may name, each with a line on when to use it.

    Wherever a config names one of these, but for engines, a dotted path such as
    `my_module.MyClass` works too.

    For example:

        fedssl list
        fedssl list --markdown > reference.md
    """
    with clear_errors():
        from simulations.reports.listing import listing, markdown

        if as_markdown:
            sys.stdout.write(markdown())
        else:
            out.print(listing())


def schema() -> None:
    """Print the JSON schema of a config, with which editors complete and check it.

    For example:

        fedssl schema > fedssl.schema.json

    then begin a config with `# yaml-language-server: $schema=fedssl.schema.json`.
    """
    from simulations.settings.experiment import Experiment

    sys.stdout.write(json.dumps(Experiment.model_json_schema(), indent=2) + "\n")
