"""What `fedssl join` makes of a server that goes away, refuses it, or speaks to it no more."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

import clients.join
from clients.connection import Connection
from clients.device import Device
from clients.flower_adapter.process_output import Refusal
from clients.join import Participation
from clients.keys import ClientKeys
from clients.message_handler import JoinError
from clients.network import Unreachable
from clients.private_states import PrivateStates


class Stop(BaseException):
    """Ends `Participation.run`, as Ctrl-C does."""


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.at_end = 2000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self.at_end:
            raise Stop


class SuperNode:
    """Plays the connection: spoke to the server when `speaks` says so, ends with a refusal."""

    def __init__(
        self,
        clock: Clock,
        speaks: Callable[[float], bool],
        ends: Callable[[float], bool],
        refusal: Refusal | None,
    ):
        self._clock = clock
        self._speaks = speaks
        self._ends = ends
        self._refusal = refusal
        self._spoke = clock.now
        self.begun = clock.now
        self.was_answered = False
        self.runtime = SimpleNamespace(claim=lambda kind: None)

    @property
    def ended(self) -> bool:
        return self._refusal is not None or self._ends(self.begun)

    def silent_seconds(self) -> float:
        if self._speaks(self._clock.now):
            self._spoke, self.was_answered = self._clock.now, True
        return self._clock.now - self._spoke

    def refusal(self) -> Refusal | None:
        return self._refusal


class Scene:
    """A device, its clock, what it tells, and the SuperNodes that it has started."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.clock = Clock()
        self.messages: list[str] = []
        self.nodes: list[SuperNode] = []
        self.is_there: Callable[[float], bool] = lambda now: True
        self.speaks: Callable[[float], bool] = lambda now: True
        self.ends: Callable[[float], bool] = lambda begun: False
        self.refusal: Callable[[float], Refusal | None] = lambda now: None
        self.participation = Participation(
            "server:1",
            ClientKeys(folder),
            Device(folder, 0, torch.device("cpu")),
            PrivateStates(folder, None),
            folder / "log",
            self.messages.append,
        )
        monkeypatch.setattr(clients.join, "time", self.clock)
        monkeypatch.setattr(clients.join, "reach", self._reach)
        monkeypatch.setattr(clients.join, "connect", self._connect)

    def run(self, seconds: float) -> None:
        self.clock.at_end = self.clock.now + seconds
        with pytest.raises(Stop):
            self.participation.run()

    def _reach(self, server: str, root: Path) -> None:
        if not self.is_there(self.clock.now):
            raise Unreachable("nobody answers")

    @contextmanager
    def _connect(self, arguments: Sequence[str], **_: object) -> Iterator[Connection]:
        refusal = self.refusal(self.clock.now)
        self.nodes.append(SuperNode(self.clock, self.speaks, self.ends, refusal))
        yield cast(Connection, self.nodes[-1])


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_one_that_speaks_is_left_alone(scene: Scene) -> None:
    scene.run(3600)
    assert len(scene.nodes) == 1
    assert scene.messages == ["connecting to server:1 as client 0"]
    assert scene.participation._is_well()


def test_one_that_speaks_no_more_to_a_server_that_answers_is_started_anew(scene: Scene) -> None:
    hangs = scene.clock.now + 100
    scene.speaks = lambda now: now < hangs or now >= scene.nodes[-1].begun > hangs
    scene.run(300)
    assert len(scene.nodes) == 2
    assert scene.nodes[1].begun - hangs < 60
    assert "has not spoken to it for" in scene.messages[1]
    assert scene.messages[2] == "connecting to server:1 as client 0"


def test_a_server_that_is_away_is_waited_for_with_the_same_supernode(scene: Scene) -> None:
    away, back = scene.clock.now + 100, scene.clock.now + 1000
    scene.is_there = scene.speaks = lambda now: not away < now < back
    scene.run(890)
    assert scene.messages[1:] == ["waiting for the server: nobody answers"]
    assert not scene.participation._is_well()
    scene.nodes.clear()
    scene.run(200)
    assert len(scene.nodes) == 1
    assert scene.participation._is_well()


def test_the_next_supernode_is_ready_when_a_server_comes_back(scene: Scene) -> None:
    """It takes seconds to start, which nobody should wait for once the server is there."""
    away, back = scene.clock.now + 100, scene.clock.now + 400
    scene.is_there = scene.speaks = lambda now: not away < now < back
    scene.ends = lambda begun: begun < away < scene.clock.now
    scene.run(500)
    assert len(scene.nodes) == 2
    assert scene.nodes[1].begun - away < 10
    assert scene.nodes[1].was_answered
    assert scene.messages.count("waiting for the server: nobody answers") == 1


def test_one_that_cannot_be_reached_well_is_not_started_again_and_again(scene: Scene) -> None:
    """Such as where the certificate has expired, which ends a SuperNode at once."""
    away = scene.clock.now + 100
    scene.is_there = scene.speaks = lambda now: now < away
    scene.ends = lambda begun: away < scene.clock.now
    scene.run(1000)
    assert len(scene.nodes) == 2


def test_a_server_that_is_not_there_yet_is_waited_for(scene: Scene) -> None:
    opens = scene.clock.now + 500
    scene.is_there = lambda now: now > opens
    scene.run(600)
    assert scene.messages == [
        "waiting for the server: nobody answers",
        "connecting to server:1 as client 0",
    ]
    assert 0 <= scene.nodes[0].begun - opens < 10


def test_a_refusal_is_tried_again_for_as_long_as_it_may_help(scene: Scene) -> None:
    begin = scene.clock.now
    scene.refusal = lambda now: Refusal("counted twice", 100.0) if now < begin + 60 else None
    scene.run(300)
    assert scene.messages == [
        "connecting to server:1 as client 0",
        "server:1 refuses client 0: counted twice; trying again",
    ]
    assert not scene.nodes[-1].ended

    scene.refusal = lambda now: Refusal("unknown", 100.0)
    begin, scene.clock.at_end = scene.clock.now, scene.clock.now + 1000
    with pytest.raises(JoinError, match="server:1 refuses client 0: unknown"):
        scene.participation.run()
    assert 100 <= scene.clock.now - begin < 120


def test_a_refusal_for_good_ends_it_at_once(scene: Scene) -> None:
    scene.refusal = lambda now: Refusal("no key", 0.0)
    scene.clock.at_end = scene.clock.now + 10
    with pytest.raises(JoinError, match="refuses client 0: no key"):
        scene.participation.run()
    assert len(scene.nodes) == 1
