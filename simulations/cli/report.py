"""``fedssl report``: plots and a page of a run or a comparison."""

from pathlib import Path
from typing import Annotated

import typer

from simulations.cli.shared import clear_errors, out, print_line


def report(
    run_folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder of a run, or of a comparison.")
    ],
) -> None:
    """Draw plots and write `report.html` for a run or a comparison, also while it goes on.

    For a comparison it also prints the tables, and writes `results.csv`, `summary.json`, `table.md`
    and `table.tex`.
    """
    with clear_errors():
        from simulations.comparing.plan import PlanFile

        if PlanFile(run_folder).exists():
            from simulations.comparing.report import report as write_comparison

            page = write_comparison(run_folder, out)
            print_line(f"report: {page}")
            return
        from simulations.reports.run_report import report as write_report

        print_line(f"report: {write_report(run_folder)}")
