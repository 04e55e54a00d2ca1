from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import FedLAMA, Stateful
from strategies.fedlama import slow_layers
from tests.strategies.naive import mean
from tests.tools.strategy_rounds import (
    Client,
    cohorts,
    make_strategy,
    model,
    play_round,
)
from tests.tools.tensors import assert_states_close

quick = settings(deadline=None, max_examples=12)

CONV, HEAD = "encoder.conv.weight", "projector.weight"


def naive_slow(discrepancies: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Algorithm 2, line by line."""
    layers = sorted(range(len(sizes)), key=lambda i: discrepancies[i] / sizes[i])
    slow: list[int] = []
    for end in range(1, len(layers) + 1):
        first = layers[:end]
        delta = sum(discrepancies[i] for i in first) / sum(discrepancies)
        left = 1 - sum(sizes[i] for i in first) / sum(sizes)
        slow.append(layers[end - 1])
        if left < delta:
            return slow
    return slow


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(1, 10_000)), min_size=1, max_size=8))
def test_slow_layers_by_the_published_algorithm(layers: list[tuple[float, int]]) -> None:
    discrepancies, sizes = zip(*layers, strict=True)
    assert slow_layers(discrepancies, sizes) == naive_slow(discrepancies, sizes)


def test_where_clients_agree_on_everything_nothing_is_slow() -> None:
    assert slow_layers([0.0, 0.0], [3, 5]) == []


def test_fedlama_slows_the_layer_on_which_clients_agree_and_looks_again() -> None:
    strategy, g = make_strategy("fedlama", factor=2), model(77)
    assert isinstance(strategy, FedLAMA)

    def answers(spread: float) -> list[Client]:
        clients = [Client(dict(g)) for _ in range(3)]
        for place, client in enumerate(clients):
            client.state[CONV] = g[CONV] + spread * place
            client.state[HEAD] = g[HEAD] + place
        return clients

    def after(server_round: int, spread: float) -> set[str]:
        play_round(strategy, g, answers(spread), server_round)
        return set(strategy.slow)

    assert after(1, 0.9) == set()
    # With the convolution, on which clients agree more, 93 % of the weights are slow.
    assert after(2, 0.9) == {CONV}
    plan = strategy.plan(3, g)
    assert (plan.scheduled, plan.merged, plan.withheld) == ((CONV,), (2,), (CONV,))
    assert after(3, 2.0) == {CONV}
    assert strategy.plan(4, g).withheld == ()
    # Over two rounds, so half of 4 a round; the head alone is few weights, so both are slow.
    assert after(4, 2.0) == {CONV, HEAD}
    assert isinstance(strategy, Stateful)
    restored = make_strategy("fedlama", factor=2)
    assert isinstance(restored, FedLAMA)
    restored.load_state_dict(strategy.state_dict())
    assert restored.plan(5, g) == strategy.plan(5, g)


@quick
@given(answers=cohorts)
def test_fedlama_measures_the_clients_distance_from_their_mean(answers: list[Client]) -> None:
    strategy, g = make_strategy("fedlama", factor=1), model(77)
    told: dict[str, float] = {}
    assert isinstance(strategy, FedLAMA)
    strategy.adapt = lambda spread, sizes: told.update(spread)  # type: ignore[method-assign]
    merged = play_round(strategy, g, answers)
    assert_states_close(merged, mean(answers))
    total = sum(a.examples for a in answers)
    assert told.keys() == {CONV, HEAD}
    for name, spread in told.items():
        squares = [
            a.examples / total * float((a.state[name] - merged[name]).double().square().sum())
            for a in answers
        ]
        assert spread == pytest.approx(sum(squares), rel=1e-3, abs=1e-3)
