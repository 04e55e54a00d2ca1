"""``fedssl compare``."""

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulations.cli.shared import ConfigPath, Overrides, clear_errors, err, fail, load, out

if TYPE_CHECKING:
    from simulations.comparing.plan import PlannedRun


def compare(
    config: ConfigPath,
    strategies: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help="The strategies, with their fields in brackets: `fedavg,ldawa(warmup_rounds=0)`.",
        ),
    ],
    overrides: Overrides = None,
    seeds: Annotated[
        int,
        typer.Option(metavar="N", help="The number of seeds, from the config's seed on."),
    ] = 3,
    baseline: Annotated[
        str | None,
        typer.Option(help="The strategy that the others are compared to. Default: the first."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=V,V,…",
            help="Compare at each of these values, such as `partition.alpha=0.1,1,100`; "
            "give it again for another field.",
        ),
    ] = None,
    references: Annotated[
        str,
        typer.Option(
            metavar="central,local-only",
            help="Also show: one client that has all examples (central), each client alone "
            "(local-only). The untrained encoder is always shown.",
        ),
    ] = "",
    family: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="The strategies whose comparison with the baseline is the question; all others "
            "are exploratory. Default: all. With fewer of them, smaller differences show.",
        ),
    ] = None,
    tune: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=V,V,…",
            help="Choose among these values for each strategy, such as `client.lr=0.03,0.1`, on "
            "examples held out of the labelled training examples.",
        ),
    ] = None,
    tune_seeds: Annotated[
        int, typer.Option(metavar="N", help="The number of further seeds to try each value on.")
    ] = 1,
    reach: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="Report the rounds and bytes to reach this accuracy. Default: the baseline's "
            "final one.",
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            metavar="linear_accuracy|rankme",
            help="The metric to compare after the last round: the linear probe, or RankMe, which "
            "needs no labels.",
        ),
    ] = "linear_accuracy",
    jobs: Annotated[
        int, typer.Option(metavar="N", help="The number of runs at a time, each in a process.")
    ] = 1,
    only: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Run only part I of N of the runs, for an array of jobs on a cluster.",
        ),
    ] = "1/1",
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The comparison's folder. Default: `runs/NAME-compared`.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare strategies by a grid of runs, paired by seed, with statistics.

    The comparison is declared in `plan.yaml` before the first run. Each run is an ordinary one. The
    same command goes on after Ctrl-C: finished runs are not repeated, and a run that fails is
    reported and does not stop the rest.

    Prints tables and writes `results.csv`, `summary.json`, `table.md`, `table.tex`, `plots/` and
    `report.html`.

    For example:

        fedssl compare configs/quickstart.yaml --strategies fedavg,ldawa --seeds 3
        fedssl compare my.yaml rounds=50 --strategies fedavg,uniform,ldawa --seeds 5
            --vary partition.alpha=0.1,1,100 --references central --jobs 4
    """
    with clear_errors():
        from simulations.comparing.folder import ComparisonFolder
        from simulations.comparing.grid import Request, make_plan
        from simulations.comparing.progress import RunBars, RunLines
        from simulations.comparing.report import report
        from simulations.comparing.run_missing import compare as make_runs

        if jobs < 1:
            fail(f"--jobs {jobs}: must be at least 1")
        shard = _shard(only)
        load(config, overrides)
        folder = out_folder or Path("runs") / f"{config.stem}-compared"
        plan = make_plan(
            Request(
                config=config,
                strategies=strategies,
                seeds=seeds,
                overrides=overrides or [],
                baseline=baseline,
                vary=vary or [],
                references=references,
                family=family,
                tune=tune or [],
                tune_seeds=tune_seeds,
                reach=reach,
                metric=metric,
            )
        )
        display = (RunBars if out.is_terminal else RunLines)(out)
        try:
            waiting = make_runs(plan, folder, jobs=jobs, shard=shard, display=display)
        except KeyboardInterrupt:
            again = shlex.join(["fedssl", *sys.argv[1:]])
            err.print(f"\nstopped; go on with: {again}", markup=False, soft_wrap=True)
            raise typer.Exit(130) from None
        if waiting:
            _print_waiting(waiting)
            return
        page = report(folder, out if shard == (1, 1) else None)
        failed = [run.folder for run in plan.runs if ComparisonFolder(folder).error(run)]
        if failed:
            err.print(f"{len(failed)} runs failed; the same command tries them again")
        out.print(f"report: {page}", markup=False, soft_wrap=True)
        if failed:
            raise typer.Exit(1)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= part <= parts:
        fail(f"--only {text}: is written I/N with I from 1 to N, such as 1/8")
    return part, parts


def _print_waiting(waiting: "list[PlannedRun]") -> None:
    out.print(
        f"{len(waiting)} tuning runs of other parts have to end before values are chosen, among "
        f"them {waiting[0].folder}; then give the same command again",
        markup=False,
        soft_wrap=True,
    )
