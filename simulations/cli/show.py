"""``fedssl show``: what a config means, without training."""

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.shared import ConfigPath, Overrides, clear_errors, err, load, out


def show(
    config: ConfigPath,
    overrides: Overrides = None,
    views: Annotated[
        bool,
        typer.Option("--views", help="Show the views that clients train on instead of the config."),
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Also draw a picture into this PNG file: the numbers of examples by client and "
            "class, or with `--views` some examples and their views.",
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
        from simulations.reports import experiment_summary, view_sheet

        experiment = load(config, overrides)
        prepared = (experiment_summary.describe_views if views else experiment_summary.describe)(
            experiment, out
        )
        if picture is not None:
            (view_sheet if views else experiment_summary).draw(prepared, picture)
            err.print(f"picture: {picture}", soft_wrap=True)
