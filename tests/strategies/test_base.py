"""Our strategies as Flower runs them."""

from collections.abc import Iterator

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp.strategy import Strategy

from clients.flower_adapter.error_replies import error_reply
from fedssl.model_state import TensorRoles
from strategies import LDAWA, STRATEGIES, FedAvg, Stateful
from strategies.fedavg import merge as fedavg
from strategies.ldawa import DivergenceAware
from strategies.ldawa import merge as ldawa
from strategies.messages import to_record, to_state
from tests.tools.fake_grid import FakeGrid, reply
from tests.tools.strategy_models import BUFFERS, State, model
from tests.tools.strategy_updates import update

NODES = [31, 4, 15]
PARTS = TensorRoles(buffers=BUFFERS)


def equal(a: State, b: State) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def ours() -> list[Strategy]:
    family = [s for s in STRATEGIES.values() if issubclass(s, DivergenceAware)]
    return [FedAvg(), *(each(each.Config(warmup_rounds=0), PARTS) for each in family)]


@pytest.mark.parametrize("strategy", ours(), ids=repr)
def test_a_round_gives_the_bits_of_the_pure_merge(strategy: Strategy) -> None:
    g = model(77)
    grid = FakeGrid(NODES, update)
    messages = strategy.configure_train(1, to_record(g), ConfigRecord(), grid)
    arrays, metrics = strategy.aggregate_train(1, grid.send_and_receive(messages))
    states = [update(node, g) for node in NODES]
    if isinstance(strategy, DivergenceAware):
        expected = ldawa(g, states, NODES, preset=strategy.config, buffers=BUFFERS)
    else:
        expected = fedavg(states, NODES)
    assert arrays is not None
    assert metrics is not None
    assert equal(to_state(arrays), expected)
    assert metrics["num-examples"] == sum(NODES)
    assert metrics["train-loss"] == pytest.approx(sum(n * n for n in NODES) / sum(NODES))
    assert equal(g, model(77))


@pytest.mark.parametrize("plain", [False, True])
def test_flowers_own_loop(plain: bool) -> None:
    g = model(77)
    record = ArrayRecord(g) if plain else to_record(g)
    strategy = LDAWA(LDAWA.Config(warmup_rounds=1), PARTS)
    result = strategy.start(FakeGrid(NODES, update), record, num_rounds=2)
    after_one = fedavg([update(node, g) for node in NODES], NODES)
    after_two = ldawa(
        after_one, [update(node, after_one) for node in NODES], NODES, buffers=BUFFERS
    )
    assert equal(to_state(result.arrays), after_two)
    assert list(result.train_metrics_clientapp) == [1, 2]
    assert result.evaluate_metrics_clientapp == {}


def test_warmup_is_fedavg_up_to_its_last_round() -> None:
    g = model(77)
    states = [update(node, g) for node in NODES]

    def after(server_round: int) -> State:
        grid = FakeGrid(NODES, update)
        strategy = LDAWA()
        messages = strategy.configure_train(server_round, to_record(g), ConfigRecord(), grid)
        arrays, _ = strategy.aggregate_train(server_round, grid.send_and_receive(messages))
        assert arrays is not None
        return to_state(arrays)

    assert equal(after(3), fedavg(states, NODES))
    assert equal(after(4), ldawa(g, states, NODES))


def test_every_listed_node_gets_the_model_and_a_config_of_its_own() -> None:
    record, config = to_record(model(1)), ConfigRecord({"lr": 0.1})
    messages = FedAvg().configure_train(5, record, config, FakeGrid(NODES, update))
    assert [m.metadata.dst_node_id for m in messages] == NODES
    assert all(m.metadata.message_type == "train" for m in messages)
    contents = [m.content for m in messages]
    assert all(c.array_records["arrays"] is record for c in contents)
    assert all(dict(c.config_records["config"]) == {"lr": 0.1, "server-round": 5} for c in contents)
    assert len({id(c.config_records["config"]) for c in contents}) == len(NODES)
    assert dict(config) == {"lr": 0.1}


def test_replies_are_taken_one_at_a_time_and_errors_left_out() -> None:
    g, grid, strategy = model(77), FakeGrid(NODES, update), FedAvg()
    messages = list(strategy.configure_train(1, to_record(g), ConfigRecord(), grid))

    def replies() -> Iterator[Message]:
        yield error_reply(messages[0], RuntimeError("out of memory"))
        yield reply(messages[1], update(4, g), 4, 1.0)
        yield reply(messages[2], update(15, g), 15, 3.0)

    arrays, metrics = strategy.aggregate_train(1, replies())
    assert arrays is not None
    assert metrics is not None
    assert equal(to_state(arrays), fedavg([update(4, g), update(15, g)], [4, 15]))
    assert dict(metrics) == {"num-examples": 19, "train-loss": pytest.approx(49 / 19)}


@pytest.mark.parametrize("strategy", ours()[:3], ids=repr)
def test_a_round_in_which_all_failed_gives_nothing(strategy: Strategy) -> None:
    grid = FakeGrid(NODES, update)
    messages = strategy.configure_train(1, to_record(model(1)), ConfigRecord(), grid)
    failed = [error_reply(message, RuntimeError("lost")) for message in messages]
    assert strategy.aggregate_train(1, failed) == (None, None)
    assert strategy.aggregate_train(1, []) == (None, None)


def test_a_round_in_which_no_client_had_an_example_is_refused() -> None:
    grid = FakeGrid([1], update)
    strategy = FedAvg()
    (message,) = strategy.configure_train(1, to_record(model(1)), ConfigRecord(), grid)
    with pytest.raises(ValueError, match="0 for every client"):
        strategy.aggregate_train(1, [reply(message, model(1), 0, 0.0)])


def test_nothing_is_evaluated_on_clients_and_nothing_kept() -> None:
    for strategy in ours():
        grid = FakeGrid(NODES, update)
        assert strategy.configure_evaluate(1, to_record(model(1)), ConfigRecord(), grid) == []
        assert not isinstance(strategy, Stateful)


def test_aggregating_before_a_round_began_is_refused() -> None:
    with pytest.raises(RuntimeError, match="configure_train"):
        FedAvg().aggregate_train(1, [])
