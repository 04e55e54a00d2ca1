"""Whoever wants to know what happens in a federation: an audit log, its status, metrics."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from simulations.progress.display import Display
from simulations.progress.profiling import Rows
from simulations.record.answer import Answer
from simulations.settings.experiment import Experiment


class Watcher(Protocol):
    """Told of what happens, from any thread."""

    def note(self, event: str, **fields: object) -> None:
        """Take note of an event; the words of one that came from outside are not yet printable."""

    def seen(self, clients: Collection[int]) -> None:
        """Take note of who is connected now."""


class Nobody:
    """Takes no note."""

    def note(self, event: str, **fields: object) -> None:
        """Do nothing."""

    def seen(self, clients: Collection[int]) -> None:
        """Do nothing."""


class Several:
    """Passes on to several.

    Parameters
    ----------
    watchers : Sequence[Watcher]
        In the order in which they are told.
    """

    def __init__(self, watchers: Sequence[Watcher]):
        self._watchers = watchers

    def note(self, event: str, **fields: object) -> None:
        """Pass on."""
        for watcher in self._watchers:
            watcher.note(event, **fields)

    def seen(self, clients: Collection[int]) -> None:
        """Pass on."""
        for watcher in self._watchers:
            watcher.seen(clients)


class WatchedDisplay:
    """A display that tells a watcher of the rounds and the answers, too.

    Parameters
    ----------
    display : Display
        What shows the run.
    watcher : Watcher
        Told of ``begun``, ``sent``, ``failed`` and ``round``.
    """

    def __init__(self, display: Display, watcher: Watcher):
        self._display = display
        self._watcher = watcher
        self._round = 0

    @contextmanager
    def running(self, experiment: Experiment, first: int) -> Iterator[None]:
        """Pass on."""
        with self._display.running(experiment, first):
            yield

    def began(self, server_round: int, cohort: Sequence[int]) -> None:
        """Note that a round begins."""
        self._round = server_round
        self._watcher.note("begun", round=server_round, clients=list(cohort))
        self._display.began(server_round, cohort)

    def answered(self, answer: Answer) -> None:
        """Note what a client sent, or why it failed."""
        who = {"round": self._round, "client": answer.client}
        if answer.error is None:
            self._watcher.note("sent", **who, bytes=answer.bytes_up, examples=answer.examples)
        else:
            kind = "refused" if answer.refused else "lost" if answer.lost else "error"
            self._watcher.note("failed", **who, why=answer.error, kind=kind)
        self._display.answered(answer)

    def ended(self, row: Mapping[str, object]) -> None:
        """Note the round's figures."""
        names = ("round", "cohort", "failed", "bytes_up", "bytes_down", "seconds")
        figures = {name: row[name] for name in names}
        accuracy = row.get("linear_accuracy")
        if accuracy is not None:
            figures["linear_accuracy"] = accuracy
        self._watcher.note("round", **figures)
        self._display.ended(row)

    def profiled(self, rows: Rows) -> None:
        """Pass on."""
        self._display.profiled(rows)

    def said(self, text: str) -> None:
        """Pass on."""
        self._display.said(text)
