import io
from pathlib import Path

from rich.console import Console

from simulations.comparing.progress import RunBars, RunLines
from simulations.comparing.worker import Task
from simulations.settings.experiment import load_experiment

CONFIG = Path(__file__).parents[3] / "configs" / "smoke.yaml"


def watch(console: Console, kind: type[RunLines]) -> RunLines:
    display = kind(console)
    one, other = (Task(f"runs/a/seed-{n}", load_experiment(CONFIG), Path("x")) for n in (0, 1))
    with display.running(rounds=6, runs=3, done=1):
        display.on_start(one)
        display.on_start(other)
        display.on_row(one, {"round": 3, "cohort": [1], "linear_accuracy": 0.5})
        display.on_end(one, None)
        display.on_end(other, "no [memory]")
    return display


def test_a_log_has_a_line_a_run() -> None:
    text = io.StringIO()
    watch(Console(file=text, width=40), RunLines)
    head, one, other = text.getvalue().splitlines()
    assert head == "3 runs, 1 of them done before"
    assert one.startswith("2/3 runs/a/seed-0: linear 50.0%  ")
    assert other.startswith("3/3 runs/a/seed-1: failed: no [memory]  ")


def test_a_terminal_has_bars_that_reach_the_end() -> None:
    text = io.StringIO()
    display = watch(Console(file=text, width=120, force_terminal=True, highlight=False), RunBars)
    assert isinstance(display, RunBars)
    (whole,) = display._progress.tasks
    assert whole.completed == whole.total == 6
    assert "3/3 runs/a/seed-1: failed: no [memory]" in text.getvalue()
