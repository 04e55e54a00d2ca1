import re
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from simulations.engines.local import LocalGrid

WORKERS = 2


class Recorder:
    """Clients that note when they start, wait the longer the earlier they are, and count rounds."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.threads: set[int] = set()
        self.app = ClientApp()
        self.app.train()(self.train)

    def train(self, message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        self.started.append(client)
        self.threads.add(threading.get_ident())
        time.sleep(0.02 if client % 2 == 0 else 0.001)
        before = context.state.config_records.get("own", ConfigRecord({"rounds": 0}))
        context.state["own"] = ConfigRecord({"rounds": int(str(before["rounds"])) + 1})
        if client == 3:
            raise RuntimeError("out of memory")
        return Message(RecordDict({"own": context.state["own"]}), reply_to=message)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def grid(recorder: Recorder) -> Iterator[LocalGrid]:
    grid = LocalGrid(recorder.app, clients=12, workers=WORKERS)
    yield grid
    grid.close()


def messages(*clients: int) -> list[Message]:
    return [Message(RecordDict(), client + 1, "train") for client in clients]


def test_replies_come_in_the_order_of_the_messages(grid: LocalGrid) -> None:
    sent = messages(0, 1, 2, 4, 5, 6, 7)
    replies = list(grid.send_and_receive(sent))
    assert [r.metadata.src_node_id for r in replies] == [1, 2, 3, 5, 6, 7, 8]
    assert [r.metadata.reply_to_message_id for r in replies] == [
        m.metadata.message_id for m in sent
    ]


def test_few_clients_run_ahead_of_the_strategy(grid: LocalGrid, recorder: Recorder) -> None:
    replies = grid.send_and_receive(messages(*range(12)))
    next(replies)
    time.sleep(0.3)
    assert len(recorder.started) == 2 * WORKERS
    assert len(recorder.threads) <= WORKERS
    assert len(list(replies)) == 11


def test_a_failing_client_gives_an_error_reply_and_keeps_its_old_state(grid: LocalGrid) -> None:
    good, bad = grid.send_and_receive(messages(1, 3))
    assert good.has_content()
    assert re.match(
        r"RuntimeError: out of memory \(in \S+\.py, line \d+, in \w+\)$", str(bad.error.reason)
    )
    assert 3 not in grid.states


def test_state_survives_between_a_clients_rounds_and_stays_its_own(grid: LocalGrid) -> None:
    list(grid.send_and_receive(messages(0, 1)))
    list(grid.send_and_receive(messages(0)))
    rounds = {c: s.config_records["own"]["rounds"] for c, s in grid.states.items()}
    assert rounds == {0: 2, 1: 1}


def test_push_and_pull_give_the_same(grid: LocalGrid) -> None:
    ids = list(grid.push_messages(messages(0, 1)))
    replies: list[Message] = []
    while len(replies) < 2:
        replies += grid.pull_messages(ids)
    assert sorted(r.metadata.src_node_id for r in replies) == [1, 2]
    assert list(grid.pull_messages(ids)) == []


def test_the_grid_lists_every_client_and_describes_its_run(grid: LocalGrid) -> None:
    assert list(grid.get_node_ids()) == list(range(1, 13))
    assert grid.create_message(RecordDict(), "train", 1, "").metadata.run_id == grid.run.run_id


def remembering(message: Message, context: Context) -> Message:
    context.state["own"] = ConfigRecord({"rounds": 1})
    return Message(RecordDict(), reply_to=message)


def test_a_round_may_be_stopped_while_clients_are_still_at_it() -> None:
    interval = sys.getswitchinterval()
    grid = LocalGrid(remembering, clients=2000, workers=WORKERS)
    try:
        # Threads take turns as often as they can.
        sys.setswitchinterval(1e-6)
        waiting = set(grid.push_messages(messages(*range(2000))))
        while waiting:
            grid.commit_states(1, ())
            done = grid.pull_messages(waiting)
            waiting -= {reply.metadata.reply_to_message_id for reply in done}
    finally:
        sys.setswitchinterval(interval)
        grid.close()
