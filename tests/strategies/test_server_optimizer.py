"""Server optimisers over several rounds: by their formulas, and what they keep."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from strategies import Stateful
from strategies.server_optimizer import AdaptiveOptimizer
from tests.strategies.naive import mean
from tests.tools.strategy_models import State
from tests.tools.strategy_rounds import PARAMETERS, PARTS, Client, make_strategy, model, play_round
from tests.tools.tensors import assert_states_close

NAMES = ["fedavgm", "fedadam", "fedyogi", "fedadagrad"]
quick = settings(deadline=None, max_examples=10)
rounds = st.lists(
    st.lists(st.tuples(st.integers(0, 9_999), st.integers(1, 99)), min_size=1, max_size=3),
    min_size=2,
    max_size=4,
)


def answers_of(pairs: list[tuple[int, int]]) -> list[Client]:
    return [Client(model(seed), examples) for seed, examples in pairs]


def momentum(fields: dict[str, float], m: float, v: float, d: float) -> tuple[float, float, float]:
    m = fields["momentum"] * m + d
    return m, 0.0, fields["lr"] * m


def adaptive(
    variance: Callable[[float, float, float], float],
) -> Callable[[dict[str, float], float, float, float], tuple[float, float, float]]:
    def step(fields: dict[str, float], m: float, v: float, d: float) -> tuple[float, float, float]:
        m = fields["beta_1"] * m + (1 - fields["beta_1"]) * d
        v = variance(v, d, fields.get("beta_2", 0.0))
        return m, v, fields["lr"] * m / (v**0.5 + fields["tau"])

    return step


def yogi(v: float, d: float, beta: float) -> float:
    sign = (v > d * d) - (v < d * d)
    return v - (1 - beta) * d * d * sign


STEPS = {
    "fedavgm": momentum,
    "fedadam": adaptive(lambda v, d, beta: beta * v + (1 - beta) * d * d),
    "fedyogi": adaptive(yogi),
    "fedadagrad": adaptive(lambda v, d, beta: v + d * d),
}
FIELDS = {
    "fedavgm": {"lr": 0.5, "momentum": 0.8},
    "fedadam": {"lr": 0.1, "beta_1": 0.7, "beta_2": 0.9, "tau": 0.1},
    "fedyogi": {"lr": 0.1, "beta_1": 0.7, "beta_2": 0.9, "tau": 0.1},
    "fedadagrad": {"lr": 0.1, "beta_1": 0.7, "tau": 0.1},
}


@pytest.mark.parametrize("name", NAMES)
@quick
@given(played=rounds)
def test_rounds_by_the_formula(name: str, played: list[list[tuple[int, int]]]) -> None:
    fields = FIELDS[name]
    strategy, g = make_strategy(name, **fields), model(77)
    weights = {n: g[n].double().flatten().tolist() for n in PARAMETERS}
    kept = {n: [(0.0, fields.get("tau", 0.0) ** 2)] * len(w) for n, w in weights.items()}
    for number, pairs in enumerate(played, start=1):
        answers = answers_of(pairs)
        merged = play_round(strategy, g, answers, number)
        expected = mean(answers)
        for tensor in PARAMETERS:
            target = expected[tensor].double().flatten().tolist()
            for i, (m, v) in enumerate(kept[tensor]):
                m, v, step = STEPS[name](fields, m, v, target[i] - weights[tensor][i])
                kept[tensor][i] = m, v
                weights[tensor][i] += step
            expected[tensor] = torch.tensor(weights[tensor]).reshape(g[tensor].shape)
        assert_states_close(merged, expected)
        g = merged


@pytest.mark.parametrize("name", NAMES)
@quick
@given(played=rounds)
def test_a_restored_strategy_goes_on_with_the_same_bits(
    name: str, played: list[list[tuple[int, int]]]
) -> None:
    def after(restarts: bool) -> State:
        strategy, g = make_strategy(name), model(77)
        for number, pairs in enumerate(played, start=1):
            g = play_round(strategy, g, answers_of(pairs), number)
            assert isinstance(strategy, Stateful)
            if restarts:
                kept = {n: t.clone() for n, t in strategy.state_dict().items()}
                strategy = make_strategy(name)
                assert isinstance(strategy, Stateful)
                strategy.load_state_dict(kept)
        return g

    one, other = after(False), after(True)
    assert all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("name", NAMES)
def test_batchnorms_statistics_never_go_through_the_optimiser(name: str) -> None:
    g = model(77)
    strategy = make_strategy(name)
    answers = answers_of([(1, 3), (2, 5)])
    for number in (1, 2, 3):
        merged = play_round(strategy, g, answers, number)
        expected = mean(answers)
        for tensor in PARTS.buffers:
            torch.testing.assert_close(merged[tensor], expected[tensor])
            assert "var" not in tensor or (merged[tensor] > 0).all()
        g = merged
    assert isinstance(strategy, Stateful)
    kept = {key.split(" ", 1)[1] for key in strategy.state_dict()}
    assert kept == set(PARAMETERS)


values = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=1).map(torch.tensor)


@pytest.mark.parametrize("name", NAMES[1:])
@quick
@given(updates=st.lists(values, min_size=1, max_size=30))
def test_a_variance_is_never_negative(name: str, updates: list[Tensor]) -> None:
    strategy = make_strategy(name)
    assert isinstance(strategy, AdaptiveOptimizer)
    for update in updates:
        assert strategy.step("w", update).isfinite().all()
        assert (strategy.state_dict()["variance w"] >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_round_in_which_all_fail_is_forgotten(name: str) -> None:
    strategy = make_strategy(name)
    play_round(strategy, model(77), answers_of([(1, 1)]))
    assert isinstance(strategy, Stateful)
    before = strategy.state_dict()
    assert strategy.aggregate_train(2, []) == (None, None)
    assert strategy.state_dict() == before
