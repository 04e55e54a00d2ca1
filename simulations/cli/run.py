"""``fedssl run``."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulations.cli.interrupts import stop_like_ctrl_c
from simulations.cli.shared import (
    ConfigPath,
    Device,
    Engine,
    OutFolder,
    Overrides,
    Resume,
    all_overrides,
    clear_errors,
    err,
    load,
    out,
)

if TYPE_CHECKING:
    from simulations.progress.display import Display


def run(
    config: ConfigPath,
    overrides: Overrides = None,
    engine: Engine = None,
    device: Device = None,
    out_folder: OutFolder = None,
    resume: Resume = False,
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
    log: Annotated[
        str | None,
        typer.Option(
            metavar="tensorboard|wandb",
            help="Log each round there, too, under the names of `metrics.jsonl`. "
            "Each must be installed: `pip install 'fedssl[tensorboard]'`.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only where the run lies.")] = False,
) -> None:
    """Run an experiment and write its run folder and report.

    Each round draws a cohort of clients, lets each train the global model on its own examples,
    merges the results and probes the merged encoder centrally.

    Ctrl-C stops it; all finished rounds are kept, and `--resume` goes on from there.

    For example:

        fedssl run configs/quickstart.yaml
        fedssl run configs/quickstart.yaml rounds=5 strategy.name=ldawa --out runs/try
        fedssl run configs/quickstart.yaml --resume
        fedssl run configs/quickstart.yaml rounds=2 --profile
    """
    with clear_errors():
        from simulations.running.run import run as run_experiment

        experiment = load(config, overrides, engine, device)
        again = ["fedssl", "run", str(config), *all_overrides(overrides, engine, device)]
        with run_into(config, out_folder, resume, again, quiet=quiet) as (folder, display):
            if log is not None:
                from simulations.progress.live_logs import LoggingDisplay

                display = LoggingDisplay(display, log, folder)
            run_experiment(experiment, folder, resume=resume, profile=profile, display=display)


@contextmanager
def run_into(
    config: Path, out_folder: Path | None, resume: bool, command: list[str], *, quiet: bool = False
) -> Iterator[tuple[Path, "Display"]]:
    """Choose the run's folder and display, and say at the end where the report lies.

    ``command`` is what was typed, without the folder: after Ctrl-C it is shown how to go on.
    """
    from simulations.progress.display import LineDisplay, LiveDisplay, QuietDisplay
    from simulations.record.run_folder import new_folder, newest_folder

    stop_like_ctrl_c()
    newest = newest_folder(config.stem) if resume else None
    made = None if out_folder or newest else new_folder(config.stem)
    folder = out_folder or newest or made
    assert folder is not None
    try:
        yield (
            folder,
            QuietDisplay() if quiet else (LiveDisplay if out.is_terminal else LineDisplay)(out),
        )
    except KeyboardInterrupt:
        again = shlex.join([*command, "--resume", "--out", str(folder)])
        err.print(f"\nstopped; go on with: {again}", markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    finally:
        if made and not any(made.iterdir()):
            made.rmdir()
    page = folder / "report.html"
    out.print(
        f"report: {page}" if page.exists() else f"run: {folder}", markup=False, soft_wrap=True
    )
