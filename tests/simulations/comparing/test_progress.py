import io
from pathlib import Path

from rich.console import Console

from simulations.comparing.progress import RunBars, RunLines
from simulations.comparing.worker import Task
from simulations.settings.experiment import load_experiment

CONFIG = Path(__file__).parents[3] / "configs" / "smoke.yaml"


def watch(console: Console, kind: type[RunLines]) -> RunLines:
    watcher = kind(console)
    one, other = (Task(f"runs/a/seed-{n}", load_experiment(CONFIG), Path("x")) for n in (0, 1))
    with watcher.running(rounds=6, runs=3, done=1):
        watcher.began(one)
        watcher.began(other)
        watcher.advanced(one, {"round": 3, "cohort": [1], "linear_accuracy": 0.5})
        watcher.ended(one, None)
        watcher.ended(other, "no [memory]")
    return watcher


def test_a_log_has_a_line_a_run() -> None:
    text = io.StringIO()
    watch(Console(file=text, width=40), RunLines)
    head, one, other = text.getvalue().splitlines()
    assert head == "3 runs, 1 of them done before"
    assert one.startswith("2/3 runs/a/seed-0: linear 50.0%  ")
    assert other.startswith("3/3 runs/a/seed-1: failed: no [memory]  ")


def test_a_terminal_has_bars_that_reach_the_end() -> None:
    text = io.StringIO()
    watcher = watch(Console(file=text, width=120, force_terminal=True, highlight=False), RunBars)
    assert isinstance(watcher, RunBars)
    (whole,) = watcher._progress.tasks
    assert whole.completed == whole.total == 6
    assert "3/3 runs/a/seed-1: failed: no [memory]" in text.getvalue()
