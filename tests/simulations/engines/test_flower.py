"""The engine `flower` over a SuperLink that is played in this process."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version as version_of
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from flwr.app import Context, Error, Message, MetricRecord
from flwr.app.typing import MetricRecordValues
from flwr.clientapp import ClientApp

from clients import ClientRuntime, make_client_app
from clients.client_app import read_round
from clients.flower_adapter.error_replies import RAISED
from fedssl.model_state import State
from fedssl.partitions import Partition
from fedssl.training.local_update import LocalTrainer
from simulations import RunError
from simulations.engines.flower import DeviceGrid, Intervals
from simulations.engines.roster import FixedRoster
from simulations.progress.display import QuietDisplay
from simulations.record.run_folder import RunFolder
from simulations.running import open_engine as opening
from simulations.running.run import run
from simulations.server.rounds import run_rounds
from simulations.settings.engines import FlowerConfig
from simulations.settings.experiment import Experiment
from simulations.setup.prepare import Prepared, prepare
from strategies.messages import arrays_of, config_of, to_record, to_state
from tests.tools.played_grid import PlayedGrid
from tests.tools.tensors import same_state

Small = Callable[..., Experiment]


INTERVALS = Intervals(poll=0.001, repeat=0.001)


class Scene:
    """An experiment on played devices."""

    def __init__(self, prepared: Prepared, folder: Path, version: str, intervals: Intervals):
        self.prepared = prepared
        self.played = PlayedGrid(prepared, folder, version)
        self.said: list[str] = []
        self.folder = RunFolder(folder / "run")
        engine = prepared.experiment.engine
        assert isinstance(engine, FlowerConfig)
        keys = {self.played.node(client): client for client in range(prepared.partition.clients)}
        count = prepared.partition.clients
        self.grid = DeviceGrid(
            self.played,
            engine,
            FixedRoster(range(count), keys),
            self.said.append,
            intervals=intervals,
        )

    def run(self) -> State:
        self.grid.wait_for_clients()
        run_rounds(self.prepared, self.grid, self.folder, None, display=QuietDisplay())
        checkpoint = self.folder.checkpoint.load()
        assert checkpoint is not None
        return checkpoint.model


@pytest.fixture
def scene(small: Small, tmp_path: Path, without_report: None) -> Callable[..., Scene]:
    def make(
        *overrides: str, version: str = version_of("fedssl"), intervals: Intervals = INTERVALS
    ) -> Scene:
        return Scene(prepare(small("engine.name=flower", *overrides)), tmp_path, version, intervals)

    return make


@pytest.fixture
def expected(small: Small, tmp_path: Path) -> State:
    run(small("participation=0.75"), tmp_path / "local")
    checkpoint = RunFolder(tmp_path / "local").checkpoint.load()
    assert checkpoint is not None
    return checkpoint.model


def test_it_gives_the_bits_of_local(scene: Callable[..., Scene], expected: State) -> None:
    devices = scene("participation=0.75")
    assert same_state(devices.run(), expected)
    assert sorted(devices.said)[:4] == [f"client {n} is here, with 12 examples" for n in range(4)]
    assert devices.folder.partition.read_text().splitlines()[1:3] != []


def test_what_crosses_is_weights_counts_and_scalars(scene: Callable[..., Scene]) -> None:
    devices = scene("participation=0.75")
    model = devices.run()
    crossed = devices.played.crossed
    shapes = {name: tuple(tensor.shape) for name, tensor in model.items()}
    kinds = {message.metadata.message_type for message in crossed}
    assert kinds == {"query", "train"}
    for message in crossed:
        assert set(message.content) <= {"arrays", "metrics"}
        if message.metadata.message_type == "query":
            assert set(message.content["metrics"]) == {"partition-id", "num-examples"}
            continue
        arrays = message.content.array_records["arrays"]
        assert {name: tuple(array.shape) for name, array in arrays.items()} == shapes
        assert set(message.content["metrics"]) <= {
            "num-examples",
            "train-loss",
            "chance-loss",
            "num-steps",
            "seconds",
            "divergence",
        }


def test_a_round_with_too_few_answers_is_run_again_from_the_state_before(
    scene: Callable[..., Scene], expected: State
) -> None:
    devices = scene("participation=0.75", "engine.min_clients=3", "engine.round_timeout=0.05")
    # They train, so what they keep is of that round already when it comes again.
    devices.played.silent = {(client, 2) for client in range(4)}
    assert same_state(devices.run(), expected)
    assert "0 of 3 clients answered, but engine.min_clients = 3" in devices.said


def test_a_round_goes_on_without_the_late_and_the_lost(scene: Callable[..., Scene]) -> None:
    devices = scene(
        "participation=1.0", "engine.min_clients=2", "engine.round_timeout=0.05", "rounds=2"
    )
    devices.played.silent = {(1, 1)}
    devices.grid.wait_for_clients()
    devices.played.absent = {0}
    devices.run()
    rows = devices.folder.read_metrics()
    assert [row["failed"] for row in rows[1:]] == [[0, 1], [0]]


def test_a_client_that_comes_back_takes_part_again(scene: Callable[..., Scene]) -> None:
    devices = scene("participation=1.0", "engine.round_timeout=0.05", "rounds=3")
    devices.grid.wait_for_clients()
    devices.played.absent = {0}
    train = devices.grid.send_and_receive

    def back_in_round_two(messages: Iterable[Message], **_: object) -> Iterable[Message]:
        yield from train(messages)
        devices.played.absent = set()

    devices.grid.send_and_receive = back_in_round_two  # type: ignore[assignment]
    devices.run()
    rows = devices.folder.read_metrics()
    assert [row["failed"] for row in rows[1:]] == [[0], [], []]


def test_too_few_for_too_long_is_an_error_and_can_be_resumed(scene: Callable[..., Scene]) -> None:
    devices = scene("engine.min_clients=2", "engine.round_timeout=0.01", "engine.give_up_after=0.1")
    devices.played.silent = {(client, 2) for client in range(4)}
    answer = devices.played.push_messages

    def never(messages: Sequence[Message]) -> list[str]:
        devices.played.silent |= {(client, 2) for client in range(4)}
        return answer(messages)

    devices.played.push_messages = never  # type: ignore[method-assign,assignment]
    with pytest.raises(RunError, match=r"engine\.give_up_after = 0\.1 s.*--resume"):
        devices.run()
    checkpoint = devices.folder.checkpoint.load()
    assert checkpoint is not None
    assert checkpoint.round == 1


def test_nobody_comes(scene: Callable[..., Scene]) -> None:
    devices = scene("engine.give_up_after=0.05")
    devices.played.absent = {0, 1, 2, 3}
    with pytest.raises(RunError, match=r"only 0 client\(s\)"):
        devices.run()
    assert devices.folder.is_empty()


def nan_in_round_two(client: int, server_round: int, reply: Message) -> None:
    if (client, server_round) == (0, 2):
        state = to_state(arrays_of(reply.content))
        spoilt = {n: t * math.nan if t.is_floating_point() else t for n, t in state.items()}
        reply.content["arrays"] = to_record(spoilt)


def test_after_a_refused_reply_a_device_goes_on_from_before_it_as_under_local(
    scene: Callable[..., Scene],
    small: Small,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoiling(find: Callable[[Context], ClientRuntime]) -> ClientApp:
        app = make_client_app(find)

        def answer(message: Message, context: Context) -> Message:
            reply = app(message, context)
            client = int(context.node_config["partition-id"])
            nan_in_round_two(client, read_round(config_of(message.content)), reply)
            return reply

        return cast(ClientApp, answer)

    monkeypatch.setattr(opening, "make_client_app", spoiling)
    run(small("participation=1.0"), tmp_path / "local")
    local = RunFolder(tmp_path / "local")
    checkpoint = local.checkpoint.load()
    assert checkpoint is not None
    devices = scene("participation=1.0")
    devices.played.spoil = nan_in_round_two
    assert same_state(devices.run(), checkpoint.model)
    for folder in (local, devices.folder):
        assert [row["failed"] for row in folder.read_metrics()] == [[], [], [0], []]
        (reason,) = folder.read_metrics()[2]["failed_reasons"].values()
        assert "its tensor encoder.layers.0.weight is infinite or NaN" in reason


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"partition-id": 0, "num-examples": 10**9}, "must be from 1 to 1000 (engine.max_examples"),
        ({"partition-id": 0, "num-examples": 0}, "num-examples is 0: must be from 1 to 1000"),
        ({"partition-id": 0, "num-examples": -3}, "num-examples is -3"),
        ({"partition-id": 0, "num-examples": 2.5}, "2.5 in place of a whole number"),
        ({"partition-id": 0, "num-examples": [1]}, "[1] in place of a whole number"),
        ({"partition-id": 0}, "num-examples is None in place of a whole number"),
        ({"partition-id": [0], "num-examples": 5}, "client [0]: there are clients 0 to 3"),
        ({"partition-id": 9, "num-examples": 5}, "client 9: there are clients 0 to 3"),
        ({"num-examples": 5}, "client None: there are clients 0 to 3"),
        ({"partition-id": 0, "num-examples": 5, "a": 1}, "its answer has an unexpected a"),
        (None, "it has no MetricRecord 'metrics'"),
    ],
)
def test_a_device_that_registers_wrongly_takes_no_part_and_the_others_go_on(
    scene: Callable[..., Scene], metrics: dict[str, MetricRecordValues] | None, reason: str
) -> None:
    devices = scene(
        *("engine.min_clients=3", "engine.round_timeout=0.05", "engine.max_examples=1000")
    )

    def lie(client: int, server_round: int, reply: Message) -> None:
        if (client, server_round) == (0, 0):
            del reply.content["metrics"]
            if metrics is not None:
                reply.content["metrics"] = MetricRecord(dict(metrics))

    devices.played.spoil = lie
    devices.grid.wait_for_clients()
    assert devices.grid.sizes == {1: 12, 2: 12, 3: 12}
    assert "beginning with 3 of 4 clients" in devices.said
    (said,) = [text for text in devices.said if "takes no part" in text]
    assert said.startswith("client 0 takes no part: ")
    assert reason in said


def test_what_a_refused_client_leaves_missing_is_made_up_for_without_it(
    scene: Callable[..., Scene],
) -> None:
    devices = scene("participation=1.0", "engine.min_clients=4", "rounds=2")
    devices.played.spoil = nan_in_round_two
    devices.run()
    # One refused, three left: the round is run again without it, and three are all.
    assert [row["failed"] for row in devices.folder.read_metrics()] == [[], [], [0]]
    assert "3 of 4 clients answered, but engine.min_clients = 4" in devices.said


def test_another_version_takes_no_part(scene: Callable[..., Scene]) -> None:
    devices = scene(version="0.0.1")
    # An error that all give ends the run at once.
    with pytest.raises(RunError, match=r"every client answers with the same error, .*0\.0\.1"):
        devices.run()
    assert any("client 0 takes no part: JoinError: the server runs" in s for s in devices.said)
    assert devices.folder.is_empty()


@pytest.mark.parametrize("why", ["was only checked by fedssl join --check", "example {} is broken"])
def test_errors_that_are_the_devices_own_are_waited_for(
    scene: Callable[..., Scene], why: str
) -> None:
    devices = scene("rounds=1", intervals=replace(INTERVALS, refused=0.001))
    first = dict.fromkeys(range(4), True)
    push = devices.played.push_messages

    def refuse(messages: Iterable[Message]) -> list[str]:
        asked = list(messages)
        ids = push(asked)
        for message, number in zip(asked, ids, strict=True):
            client = 1000 - message.metadata.dst_node_id
            if first.pop(client, False):
                error = Error(RAISED, why.format(client))
                devices.played.answers[number] = Message(error, reply_to=message)
        return ids

    devices.played.push_messages = refuse  # type: ignore[method-assign]
    devices.run()
    assert [row["failed"] for row in devices.folder.read_metrics()] == [[], []]
    assert f"client 0 takes no part: {why.format(0)}" in devices.said


def test_a_natural_partition_says_how_many_clients_there_are(scene: Callable[..., Scene]) -> None:
    glyphs = "data={name: glyphs, limit: {train: 120, test: 60}}"
    devices = scene(glyphs, "partition={name: natural, field: font}", "rounds=1")
    devices.run()
    clients = devices.prepared.partition.clients
    assert clients > 4
    (row,) = devices.folder.read_metrics()[1:]
    assert (len(row["cohort"]), row["failed"]) == (clients // 2, [])


def test_a_device_cannot_be_another_client(scene: Callable[..., Scene]) -> None:
    devices = scene("engine.give_up_after=0.05")
    nodes = devices.played.devices
    nodes[1000], nodes[999] = nodes[999], nodes[1000]
    with pytest.raises(RunError):
        devices.run()
    assert "client 0 takes no part: it says that it is client 1" in devices.said


def test_where_every_client_fails_by_itself_the_run_ends_at_once(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = scene()
    devices.grid.wait_for_clients()

    def broken(*_: object, **__: object) -> None:
        raise MemoryError("too small")

    monkeypatch.setattr(LocalTrainer, "run", broken)
    with pytest.raises(RunError, match=r"every client failed; client .: MemoryError: too small"):
        devices.run()


def test_measures_of_a_round_do_not_look_for_the_clients_examples(
    scene: Callable[..., Scene],
) -> None:
    devices = scene("evaluation.measures=[harm]", "rounds=1")
    # As the server has it: sizes alone, of more examples than it has itself.
    sizes = np.repeat(np.arange(4), 100)
    there = Partition.of(sizes, 4)
    devices.prepared = replace(devices.prepared, partition=there, on_devices=True)
    devices.run()
    assert "worst_class_accuracy" in devices.folder.read_metrics()[-1]
