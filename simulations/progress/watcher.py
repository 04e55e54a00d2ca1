"""Watchers of a federation's events, such as an audit log, a status and metrics."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from simulations.progress.display import Display
from simulations.progress.profiling import Rows
from simulations.record.client_result import ClientResult
from simulations.settings.experiment import Experiment


class Watcher(Protocol):
    """Its methods are called with the events of a federation, from any thread."""

    def on_event(self, event: str, **fields: object) -> None:
        """Handle an event; texts in its fields may come from outside, and are not yet printable."""

    def on_connected(self, clients: Collection[int]) -> None:
        """Handle the list of clients that are connected now."""


class SilentWatcher:
    """A watcher that does nothing."""

    def on_event(self, event: str, **fields: object) -> None:
        """Do nothing."""

    def on_connected(self, clients: Collection[int]) -> None:
        """Do nothing."""


class WatcherGroup:
    """A watcher that passes every event on to several others.

    Parameters
    ----------
    watchers : Sequence[Watcher]
        The watchers, in the order in which they are called.
    """

    def __init__(self, watchers: Sequence[Watcher]):
        self._watchers = watchers

    def on_event(self, event: str, **fields: object) -> None:
        """Pass the call on."""
        for watcher in self._watchers:
            watcher.on_event(event, **fields)

    def on_connected(self, clients: Collection[int]) -> None:
        """Pass the call on."""
        for watcher in self._watchers:
            watcher.on_connected(clients)


class WatchedDisplay:
    """A display that also reports the rounds and the clients' results to a watcher.

    Parameters
    ----------
    display : Display
        The display that shows the run.
    watcher : Watcher
        Gets the events ``begun``, ``sent``, ``failed`` and ``round``.
    """

    def __init__(self, display: Display, watcher: Watcher):
        self._display = display
        self._watcher = watcher
        self._round = 0

    @contextmanager
    def show_run(self, experiment: Experiment, first_round: int) -> Iterator[None]:
        """Pass the call on."""
        with self._display.show_run(experiment, first_round):
            yield

    def on_round_start(self, server_round: int, cohort: Sequence[int]) -> None:
        """Report that a round begins."""
        self._round = server_round
        self._watcher.on_event("begun", round=server_round, clients=list(cohort))
        self._display.on_round_start(server_round, cohort)

    def on_client_result(self, result: ClientResult) -> None:
        """Report what a client sent, or why it failed."""
        fields = {"round": self._round, "client": result.client}
        if result.error is None:
            self._watcher.on_event(
                "sent", **fields, bytes=result.bytes_up, examples=result.examples
            )
        else:
            kind = "refused" if result.refused else "lost" if result.lost else "error"
            self._watcher.on_event("failed", **fields, why=result.error, kind=kind)
        self._display.on_client_result(result)

    def on_round_end(self, row: Mapping[str, object]) -> None:
        """Report the round's metrics."""
        names = ("round", "cohort", "failed", "bytes_up", "bytes_down", "seconds")
        metrics = {name: row[name] for name in names}
        accuracy = row.get("linear_accuracy")
        if accuracy is not None:
            metrics["linear_accuracy"] = accuracy
        self._watcher.on_event("round", **metrics)
        self._display.on_round_end(row)

    def on_profile(self, rows: Rows) -> None:
        """Pass the call on."""
        self._display.on_profile(rows)

    def on_message(self, text: str) -> None:
        """Pass the call on."""
        self._display.on_message(text)
