"""What is refused before Ray starts, and what its workers do, told by clients that run in them."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedssl.data import Dataset, Splits
from simulations import ConfigError, Experiment, run
from simulations.engines.local import LocalGrid
from simulations.engines.ray import ATTEMPTS, RayClients
from simulations.engines.ray_session import session
from simulations.settings.engines import RayConfig
from strategies.messages import arrays_of, to_record, to_state
from tests.tools.ports import closed_port

Small = Callable[..., Experiment]

# Ray leaves files open and processes unwaited for, which Python tells only developers.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


class Guarded:
    """Examples that hold a lock, which no other process can get."""

    shape = (12, 3, 16, 16)

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(rows), *self.shape[1:], dtype=torch.uint8)


def guarded() -> Splits:
    data = Dataset(Guarded(), torch.arange(12) % 3, ("a", "b", "c"))
    return Splits(data, data)


def test_examples_that_cannot_be_sent_to_a_process_are_refused(
    small: Small, tmp_path: Path
) -> None:
    experiment = small("engine.name=ray", f"data={{name: {__name__}.guarded}}")
    with pytest.raises(ConfigError, match=r"test_ray\.guarded: its examples cannot be sent"):
        run(experiment, tmp_path / "run")


FAILS, DIES_ONCE, ALWAYS_DIES = 3, 4, 5


def mapped_file(address: int) -> str:
    """Return the file whose shared mapping an address of this process lies in; '' for none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        if begin <= address < end:
            _, mode, _, device, inode = line.split()[:5]
            return f"{device}:{inode}" if mode[3] == "s" else ""
    return ""


@dataclass(frozen=True)
class MakeTellingApp:
    """Makes clients that tell where they run and what they see, and two that kill their process."""

    examples: np.ndarray
    marker: Path

    def __call__(self) -> ClientApp:
        app = ClientApp()
        app.train()(self.train)
        return app

    def train(self, message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        before = context.state.config_records.get("own", ConfigRecord({"rounds": 0}))
        context.state["own"] = ConfigRecord({"rounds": int(str(before["rounds"])) + 1})
        if client == FAILS:
            raise RuntimeError("out of memory")
        if client == ALWAYS_DIES or (client == DIES_ONCE and not self.marker.exists()):
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2 if client == 0 else 0.05)
        state = to_state(arrays_of(message.content))
        told = ConfigRecord(
            {
                "pid": os.getpid(),
                "model at": state["w"].data_ptr(),
                "examples in": mapped_file(self.examples.ctypes.data),
                "examples writeable": self.examples.flags.writeable,
                "examples sum": int(self.examples.sum()),
            }
        )
        content = RecordDict({"told": told, "own": context.state["own"]})
        content["arrays"] = to_record({"w": state["w"] + client})
        return Message(content, reply_to=message)


@dataclass(frozen=True)
class Telling:
    """A Grid whose clients tell, and what they were made from."""

    grid: LocalGrid
    examples: np.ndarray

    def send(self, *clients: int, model: float = 0.0) -> list[Message]:
        """Send a round's model to clients, as a strategy does, and return their replies."""
        arrays = to_record({"w": torch.full((100_000,), model)})
        messages = []
        for client in clients:
            content = RecordDict({"config": ConfigRecord({"server-round": 1})})
            content["arrays"] = arrays
            messages.append(Message(content, client + 1, "train"))
        return list(self.grid.send_and_receive(messages))


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telling]:
    examples = np.arange(200_000)
    engine = RayConfig(workers=2, device="cpu").resolve(1)
    make = MakeTellingApp(examples, tmp_path_factory.mktemp("marker") / "died")
    with pytest.MonkeyPatch.context() as patch:
        # Where nobody answers: joining it would fail.
        patch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port()}")
        with session(engine, 1, 10_000_000) as places:
            clients = RayClients(places, make, "cpu")
            grid = LocalGrid(clients, 12, len(places))
            yield Telling(grid, examples)
            clients.close()
            grid.close()


def told(replies: list[Message]) -> list[ConfigRecord]:
    return [reply.content.config_records["told"] for reply in replies]


@pytest.mark.slow
def test_replies_come_from_two_processes_in_the_order_of_the_messages(telling: Telling) -> None:
    replies = telling.send(0, 1, 2, 6, 7, 8, model=0.5)
    assert [reply.metadata.src_node_id for reply in replies] == [1, 2, 3, 7, 8, 9]
    for reply, client in zip(replies, (0, 1, 2, 6, 7, 8), strict=True):
        weights = to_state(arrays_of(reply.content))["w"]
        assert torch.equal(weights, torch.full((100_000,), 0.5 + client))
        # Else Ray's memory would be held by whoever keeps a reply.
        assert mapped_file(weights.data_ptr()) == ""
    assert len({tell["pid"] for tell in told(replies)} - {os.getpid()}) == 2


@pytest.mark.slow
def test_a_rounds_model_is_taken_once_by_each_worker(telling: Telling) -> None:
    replies = told(telling.send(0, 1, 2, 6, 7, 8, model=1.0))
    assert len({tell["pid"] for tell in replies}) == 2
    assert len({(tell["pid"], tell["model at"]) for tell in replies}) == 2


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_examples_lie_in_memory_that_all_workers_share(telling: Telling) -> None:
    replies = told(telling.send(0, 1, 2))
    assert {tell["examples sum"] for tell in replies} == {int(telling.examples.sum())}
    assert not any(tell["examples writeable"] for tell in replies)
    (file,) = {tell["examples in"] for tell in replies}
    assert file


@pytest.mark.slow
def test_a_failing_client_gives_the_reply_of_the_engine_local_and_keeps_its_old_state(
    telling: Telling,
) -> None:
    good, bad = telling.send(1, FAILS)
    assert good.has_content()
    assert re.match(
        r"RuntimeError: out of memory \(in \S+\.py, line \d+, in \w+\)$", str(bad.error.reason)
    )
    assert FAILS not in telling.grid.states


@pytest.mark.slow
def test_private_state_travels_with_the_client_and_stays_its_own(telling: Telling) -> None:
    telling.send(9, 10)
    telling.send(9)
    rounds = {c: config_of_own(telling.grid.states[c]) for c in (9, 10)}
    assert rounds == {9: 2, 10: 1}


def config_of_own(state: RecordDict) -> int:
    return int(str(state.config_records["own"]["rounds"]))


@pytest.mark.slow
def test_a_client_whose_worker_dies_runs_again_from_the_state_before(telling: Telling) -> None:
    replies = telling.send(1, DIES_ONCE, 2, 6)
    assert all(reply.has_content() for reply in replies)
    assert config_of_own(telling.grid.states[DIES_ONCE]) == 1
    assert len({tell["pid"] for tell in told(telling.send(0, 1, 2, 6))}) == 2


@pytest.mark.slow
def test_a_client_whose_worker_dies_again_and_again_fails_alone(telling: Telling) -> None:
    replies = telling.send(1, ALWAYS_DIES, 2, 6, 7)
    assert [reply.has_error() for reply in replies] == [False, True, False, False, False]
    assert f"was lost {ATTEMPTS} times" in str(replies[1].error.reason)
    assert ALWAYS_DIES not in telling.grid.states
