"""Devices that join and leave while a run goes on, over a SuperLink that is played here."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message

from fedssl.base.config_file import ConfigError
from simulations import RunError
from simulations.engines.flower import DeviceGrid, Intervals
from simulations.progress.display import QuietDisplay
from simulations.record.members import MemberRecord
from simulations.record.run_folder import RunFolder
from simulations.record.tables import read_partition
from simulations.server.rounds import find_checkpoint, run_rounds
from simulations.settings.engines import FlowerConfig
from simulations.settings.experiment import Experiment
from simulations.setup.cohort import draw_cohort_of_members
from simulations.setup.prepare import Prepared, prepare
from strategies.messages import metrics_of
from tests.tools.played_grid import PlayedGrid
from tests.tools.tensors import same_state

Small = Callable[..., Experiment]


class Keys:
    """A roster that the test changes."""

    def __init__(self, *clients: int):
        self.put(*clients)

    def put(self, *clients: int) -> None:
        self.clients = tuple(sorted(clients))
        self.nodes = {PlayedGrid.node(client): client for client in clients}


class Changing(QuietDisplay):
    """Adds members in the round before, removes them after it, and stops where it is asked to."""

    def __init__(self, keys: Keys, script: Mapping[int, Sequence[int]], stop: int | None):
        self._keys, self._script, self._stop = keys, script, stop
        self.said_all: list[str] = []

    def on_round_end(self, row: Mapping[str, object]) -> None:
        number = int(str(row["round"]))
        self._keys.put(*self._script.get(number + 1, self._keys.clients))

    def on_round_start(self, server_round: int, cohort: Sequence[int]) -> None:
        if server_round == self._stop:
            raise KeyboardInterrupt
        there = self._keys.clients
        self._keys.put(*{*there, *self._script.get(server_round + 1, ())})

    def on_message(self, text: str) -> None:
        self.said_all.append(text)


INTERVALS = Intervals(poll=0.001, look=-1, repeat=0.001)


class Scene:
    """An experiment on four played devices, of which those in ``keys`` are members."""

    def __init__(self, prepared: Prepared, folder: Path, name: str):
        self.played = PlayedGrid(prepared, folder / f"{name}-devices", version("fedssl"))
        self.prepared = prepared
        self.folder = RunFolder(folder / name)
        self.keys = Keys(0, 1, 3)
        self.said: list[str] = []

    def run(self, script: Mapping[int, Sequence[int]], stop: int | None = None) -> list[str]:
        """Serve, or go on; ``script`` has the members from a round on."""
        engine = self.prepared.experiment.engine
        assert isinstance(engine, FlowerConfig)
        found = find_checkpoint(self.folder, self.prepared.experiment, resume=True, on_devices=True)
        grid = DeviceGrid(self.played, engine, self.keys, self.said.append, intervals=INTERVALS)
        grid.members = MemberRecord(found.members if found else ())
        grid.sizes.update(grid.members.latest())
        grid.wait_for_clients()
        there = self.prepared.of_members({c: grid.size_of(c) for c in self.keys.clients})
        display = Changing(self.keys, script, stop)
        run_rounds(there, grid, self.folder, found, display=display)
        return display.said_all

    def cohorts(self) -> list[list[int]]:
        return [row["cohort"] for row in self.folder.read_metrics()[1:]]


@pytest.fixture
def scene(small: Small, tmp_path: Path, without_report: None) -> Callable[..., Scene]:
    def make(name: str, *overrides: str) -> Scene:
        prepared = prepare(small("engine.name=flower", "participation=0.67", *overrides))
        return Scene(replace(prepared, on_devices=True), tmp_path, name)

    return make


SCRIPT = {2: (0, 3), 3: (0, 2, 3)}


def test_cohorts_are_drawn_among_the_members_of_the_round(scene: Callable[..., Scene]) -> None:
    there = scene("run")
    there.run(SCRIPT)
    expected = [(0, 1, 3), (0, 3), (0, 2, 3)]
    checkpoint = there.folder.checkpoint.load()
    assert checkpoint is not None
    record = MemberRecord(checkpoint.members)
    assert [tuple(record.members(number)) for number in (1, 2, 3)] == expected
    assert record.members(3) == {0: 12, 2: 12, 3: 12}
    assert there.cohorts() == [
        draw_cohort_of_members(record.members(number), 3, number, 0.67) for number in (1, 2, 3)
    ]
    counts, _ = read_partition(there.folder.partition)
    assert list(counts) == [(0, 0, 12), (2, 0, 12), (3, 0, 12)]


@pytest.mark.parametrize(
    "stop", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_run_that_was_stopped_goes_on_with_its_members(
    scene: Callable[..., Scene], stop: int
) -> None:
    whole, stopped = scene("whole"), scene("stopped")
    whole.run(SCRIPT)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(SCRIPT, stop)
    stopped.keys.put(*SCRIPT.get(stop, (0, 1, 3)))
    stopped.run(SCRIPT)
    assert stopped.cohorts() == whole.cohorts()
    one, other = (scene.folder.checkpoint.load() for scene in (whole, stopped))
    assert one is not None
    assert other is not None
    assert one.members == other.members
    assert same_state(one.model, other.model)


def test_one_that_leaves_in_a_round_is_not_counted_in_it(scene: Callable[..., Scene]) -> None:
    there = scene("run", "participation=1.0")

    def leave(client: int, server_round: int, reply: Message) -> None:
        if (client, server_round) == (1, 2):
            there.keys.put(0, 3)

    there.played.spoil = leave
    there.run({})
    rows = there.folder.read_metrics()
    assert [row["cohort"] for row in rows[1:]] == [[0, 1, 3], [0, 1, 3], [0, 3]]
    assert [row["failed"] for row in rows[1:]] == [[], [1], []]
    assert "left the federation: its key is no longer" in rows[2]["failed_reasons"]["1"]


@pytest.mark.slow
def test_a_round_is_drawn_anew_where_those_who_left_are_missing(
    scene: Callable[..., Scene],
) -> None:
    there = scene("run", "participation=1.0", "engine.min_clients=3")

    def leave(client: int, server_round: int, reply: Message) -> None:
        if (client, server_round) == (1, 2):
            there.keys.put(0, 3)

    there.played.spoil = leave
    said = there.run({})
    assert there.cohorts() == [[0, 1, 3], [0, 3], [0, 3]]
    assert said == [
        "round 2 gets a new cohort: 2 of 3 clients answered, and client 1 left the federation"
    ]
    # With the bits of one that had left before.
    other = scene("other", "participation=1.0", "engine.min_clients=3")
    other.run({2: (0, 3)})
    one, two = (scene.folder.checkpoint.load() for scene in (there, other))
    assert one is not None
    assert two is not None
    assert same_state(one.model, two.model)


def test_whoever_is_no_member_is_asked_nothing(scene: Callable[..., Scene]) -> None:
    there = scene("run", "participation=1.0")
    asked: set[int] = set()
    push = there.played.push_messages

    def note(messages: Iterable[Message]) -> list[str]:
        sent = list(messages)
        asked.update(1000 - message.metadata.dst_node_id for message in sent)
        return push(sent)

    there.played.push_messages = note  # type: ignore[method-assign]
    there.run({})
    assert asked == {0, 1, 3}


def test_too_few_members_are_waited_for(scene: Callable[..., Scene]) -> None:
    krum = (
        "strategy={name: multikrum, byzantine: 0, selected: 3}",
        "participation=1.0",
        "rounds=1",
    )
    there = scene("run", *krum)
    there.keys.put(0)
    wait = DeviceGrid.wait_for_members

    def come(grid: DeviceGrid, fault: Callable[[Collection[int]], str | None]) -> Mapping[int, int]:
        def look(clients: Collection[int]) -> str | None:
            why = fault(clients)
            there.keys.put(0, 1, 2, 3)
            return why

        return wait(grid, look)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceGrid, "wait_for_members", come)
        there.run({})
    assert sorted(there.cohorts()[0]) == [0, 1, 2, 3]
    (said,) = [text for text in there.said if "key" in text]
    assert said.startswith("waiting for another client's key: participation = 1: 1 of 1 clients")

    alone = scene("alone", *krum, "engine.give_up_after=0.05")
    alone.keys.put(0)
    with pytest.raises(RunError, match=r"needs at least .*add clients by fedssl certs.*--resume"):
        alone.run({})


def test_one_that_comes_back_with_other_examples_is_as_large_as_it_says(
    scene: Callable[..., Scene],
) -> None:
    there = scene("run", "participation=1.0", "engine.min_clients=2")
    push, asked = there.played.push_messages, []

    def fewer(client: int, server_round: int, reply: Message) -> None:
        if (client, server_round) == (0, 0):
            asked.append(client)
            if len(asked) > 1:
                metrics_of(reply.content)["num-examples"] = 9
                # Which is what it then trains on.
                rows = np.arange(9)
                train = there.prepared.splits.train.take(rows)
                device = there.played.devices[PlayedGrid.node(0)]._device
                device.read = lambda *_: train  # type: ignore[method-assign]
                device._built = None

    def come_and_go(messages: Iterable[Message]) -> list[str]:
        sent = list(messages)
        rounds = {m.metadata.message_type for m in sent}
        if "train" in rounds:
            there.played.absent ^= {0}
        return push(sent)

    there.played.spoil = fewer
    there.played.push_messages = come_and_go  # type: ignore[method-assign]
    there.run({})
    checkpoint = there.folder.checkpoint.load()
    assert checkpoint is not None
    record = MemberRecord(checkpoint.members)
    assert [record.members(number)[0] for number in (1, 2, 3)] == [12, 12, 9]
    assert there.cohorts()[2] == [1, 3, 0]
    assert "client 0 is here, with 9 examples" in there.said


def test_nobody_has_a_key(scene: Callable[..., Scene]) -> None:
    there = scene("run", "engine.give_up_after=0.05")
    there.keys.put()
    with pytest.raises(RunError, match=r"only 0 client\(s\)"):
        there.run({})
    assert "waiting for 0 clients" in there.said


@pytest.mark.slow
def test_a_checkpoint_of_before_has_no_members_and_goes_on(scene: Callable[..., Scene]) -> None:
    whole, stopped = scene("whole"), scene("stopped")
    whole.run({})
    with pytest.raises(KeyboardInterrupt):
        stopped.run({}, stop=3)
    checkpoint = stopped.folder.checkpoint
    found = checkpoint.load()
    assert found is not None
    checkpoint.save(replace(found, members=()), changed=set())
    stopped.run({})
    assert stopped.cohorts() == whole.cohorts()


def test_another_number_of_clients_is_no_other_config(
    scene: Callable[..., Scene], small: Small
) -> None:
    there = scene("run")
    there.run({})
    other = prepare(small("engine.name=flower", "participation=0.67", "partition.clients=2"))
    assert find_checkpoint(there.folder, other.experiment, resume=True, on_devices=True) is not None
    with pytest.raises(ConfigError, match=r"partition\.clients was 4, is now 2"):
        find_checkpoint(there.folder, other.experiment, resume=True)
