import io
from collections.abc import Callable

import pytest
from rich.console import Console

from simulations.progress.display import LineDisplay, LiveDisplay
from simulations.record.client_result import ClientResult
from simulations.settings.experiment import Experiment

HOSTILE = "[red]dog[/red] :cat: \x1b[2J\x1b]0;title\x07 \u202egod \x9b31m"

SHOWN = r"[red]dog[/red] :cat: \x1b[2J\x1b]0;title\x07 \u202egod \x9b31m"


@pytest.mark.parametrize("kind", [LineDisplay, LiveDisplay])
def test_a_client_s_error_is_told_in_a_line(kind: type[LineDisplay]) -> None:
    file = io.StringIO()
    display = kind(Console(file=file, width=500))
    with pytest.MonkeyPatch.context() as patched:
        if kind is LiveDisplay:  # Whose bars are drawn while a run is shown.
            patched.setattr(display, "_progress", _NoBars())
        display.on_client_result(ClientResult(3, error=HOSTILE + "\nround 9: 100%" + "x" * 10_000))
    (line,) = file.getvalue().splitlines()
    assert line.startswith(f"client 3 failed: {SHOWN}")
    assert len(line) < 350
    display.on_message("[bold]all\x1b[2J")
    assert file.getvalue().splitlines()[1:] == [r"[bold]all\x1b[2J"]


class _NoBars:
    def update(self, *_: object, **__: object) -> None:
        return None


def test_the_bar_counts_as_the_rounds_do(small: Callable[..., Experiment]) -> None:
    file = io.StringIO()
    display = LiveDisplay(Console(file=file, width=200, force_terminal=True))
    with display.show_run(small("rounds=14"), 0):
        for number in range(4):
            display.on_round_start(number, [0] * bool(number))
            display.on_round_end({"round": number, "cohort": [], "seconds": 1.0})
        bar = display._progress.tasks[0]
        assert (bar.completed, bar.total) == (3, 14)
    with display.show_run(small("rounds=14"), 4):
        assert display._progress.tasks[-2].completed == 3
    assert "3/14" in file.getvalue()
