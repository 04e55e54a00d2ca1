from collections.abc import Iterable

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from hypothesis import given
from hypothesis import strategies as st

from simulations.engines.local import LocalGrid
from simulations.record.client_result import ClientResult
from simulations.server.cohort_grid import CohortGrid
from simulations.setup.cohort import draw_cohort
from strategies.messages import ARRAYS, METRICS, to_record


@given(
    st.integers(0, 99),
    st.integers(1, 99),
    st.lists(st.integers(1, 50), min_size=1, max_size=40),
    st.floats(0.01, 1),
)
def test_a_cohort_is_distinct_clients_from_the_largest_to_the_smallest(
    seed: int, server_round: int, sizes: list[int], participation: float
) -> None:
    cohort = draw_cohort(seed, server_round, np.array(sizes), participation)
    assert len(cohort) == len(set(cohort)) == max(1, round(participation * len(sizes)))
    keys = [(-sizes[client], client) for client in cohort]
    assert keys == sorted(keys)
    assert cohort == draw_cohort(seed, server_round, np.array(sizes), participation)


def test_every_client_is_drawn_equally_often() -> None:
    sizes = np.arange(1, 11)
    counts = np.zeros(10)
    for server_round in range(1, 1001):
        counts[draw_cohort(0, server_round, sizes, 0.3)] += 1
    # 1,000 draws of 3 in 10: 300 each, with a standard deviation of about 14.5.
    assert np.abs(counts - 300).max() < 5 * 14.5


def echo_app() -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        if client == 2:
            raise ValueError("no camera")
        metrics = MetricRecord({"num-examples": client + 1, "train-loss": 0.5})
        state = {"w": torch.full((2,), float(client))}
        return Message(RecordDict({ARRAYS: to_record(state), METRICS: metrics}), reply_to=message)

    return app


def believe(client: int, message: Message, reply: Message) -> tuple[Message, ClientResult]:
    error = reply.error.reason if reply.has_error() else None
    return reply, ClientResult(client, error=error)


@pytest.fixture
def grid() -> Iterable[CohortGrid]:
    local = LocalGrid(echo_app(), clients=6, workers=2)
    yield CohortGrid(local, lambda client: client + 1, believe)
    local.close()


def test_flowers_own_strategy_takes_exactly_the_cohort_in_its_order(grid: CohortGrid) -> None:
    grid.begin_round([5, 2, 0])
    strategy = FedAvg(min_train_nodes=1, min_available_nodes=1)
    arrays = to_record({"w": torch.zeros(2)})
    messages = strategy.configure_train(1, arrays, ConfigRecord(), grid)
    merged, _ = strategy.aggregate_train(1, grid.send_and_receive(messages))
    assert merged is not None
    np.testing.assert_allclose(merged["w"].numpy(), (6 * 5 + 1 * 0) / 7)
    assert [answer.client for answer in grid.results] == [5, 2, 0]
    first, failed, last = (answer.error for answer in grid.results)
    assert first is None
    assert last is None
    assert str(failed).startswith("ValueError: no camera (in ")
    assert grid.bytes_down == 3 * 8


def test_each_answer_is_told_as_it_comes() -> None:
    told: list[ClientResult] = []
    local = LocalGrid(echo_app(), clients=6, workers=2)
    grid = CohortGrid(local, lambda client: client + 1, believe, told.append)
    grid.begin_round([4, 3])
    content = RecordDict({ARRAYS: to_record({}), "config": ConfigRecord({"server-round": 1})})
    replies = grid.send_and_receive([Message(content, node, "train") for node in (4, 5)])
    next(iter(replies))
    assert [answer.client for answer in told] == [4]
    local.close()
