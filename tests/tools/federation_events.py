"""What happens in a federation's first round, told to those who watch it."""

from simulations.progress.display import QuietDisplay
from simulations.progress.watcher import WatchedDisplay, Watcher
from simulations.record.client_result import ClientResult

ROW = {
    "round": 1,
    "cohort": [0, 2],
    "failed": [2],
    "failed_reasons": {"2": "no answer"},
    "bytes_up": 100,
    "bytes_down": 220,
    "seconds": 3.5,
    "linear_accuracy": 0.25,
}


def happen(watcher: Watcher) -> None:
    """Let a server start, and run a round."""
    watcher.on_event("started", round=0, rounds=3, fedssl="0.1.0")
    watcher.on_event("roster", clients=(0, 2, 5))
    watcher.on_event("joined", client=0, examples=12)
    watcher.on_event("joined", client=2, examples=7)
    watcher.on_connected({0, 2})
    watcher.on_event("refused", client=5, why="ValueError: \x1b[2J no examples")
    watcher.on_event("members", round=1, members={0: 12, 2: 7, 5: 0})
    display = WatchedDisplay(QuietDisplay(), watcher)
    display.on_round_start(1, [0, 2])
    display.on_client_result(ClientResult(0, bytes_up=100, examples=12))
    display.on_client_result(ClientResult(2, error="no answer", lost=True))
    display.on_round_end(ROW)
    watcher.on_event("left", client=2, why="it is not connected any more")
    watcher.on_connected({0})
