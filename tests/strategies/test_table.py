"""Every strategy of the table: its formula, and the laws that it must obey."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import STRATEGIES, FoldingStrategy
from strategies.base import shared_state
from tests.strategies.naive import CHOICES, FORMULAS
from tests.tools.strategy_models import State
from tests.tools.strategy_rounds import Client, cohorts, make_strategy, model, play_round
from tests.tools.tensors import assert_states_close

quick = settings(deadline=None, max_examples=8)
every = pytest.mark.parametrize("name", FORMULAS)

DIRECTED = {"ldawa", "ldawa-released", "ldawa-normalized", "dawa", "const-shrink", "ldawa-renorm"}
STEPPING = {
    "fedavgm",
    "fedadam",
    "fedyogi",
    "fedadagrad",
    "fedexp",
    "fedvssl",
    "fednova",
    "elastic",
    "feddyn",
}
CONVEX = [n for n in FORMULAS if n not in DIRECTED | STEPPING | {"fedlws"}]
"""Those whose merged model is a weighted mean of the clients', whatever the global one."""


def merged_in_round_one(name: str) -> list[str]:
    """The tensors that clients send back."""
    strategy = make_strategy(name, **CHOICES.get(name, {}))
    assert isinstance(strategy, FoldingStrategy)
    shared = shared_state(strategy, model(77))
    return [n for n in shared if n not in strategy.plan(1, shared).withheld]


def played(name: str, g: State, answers: list[Client]) -> State:
    return play_round(make_strategy(name, **CHOICES.get(name, {})), g, answers)


def test_every_formula_is_a_strategys_and_no_two_are_for_the_same_use() -> None:
    assert set(FORMULAS) <= set(STRATEGIES)
    lines = [STRATEGIES.summary(name) for name in STRATEGIES]
    assert len(set(lines)) == len(lines)


@every
@quick
@given(answers=cohorts)
def test_it_does_what_its_formula_says(name: str, answers: list[Client]) -> None:
    g = model(77)
    assert_states_close(played(name, g, answers), FORMULAS[name](g, answers))


@every
@quick
@given(answers=cohorts, random=st.randoms(use_true_random=False))
def test_the_order_of_the_clients_does_not_matter(  # type: ignore[no-untyped-def]
    name: str, answers: list[Client], random
) -> None:
    g = model(77)
    shuffled = random.sample(answers, len(answers))
    assert_states_close(played(name, g, shuffled), played(name, g, answers))


@every
@quick
@given(answers=cohorts)
def test_clients_that_return_the_global_model_leave_it_as_it_is(
    name: str, answers: list[Client]
) -> None:
    g = model(77)
    still = [Client(g, a.examples, a.loss, a.chance, a.steps, a.sensitivity) for a in answers]
    assert_states_close(played(name, g, still), g)


@pytest.mark.parametrize("name", CONVEX)
@quick
@given(answers=cohorts)
def test_identical_clients_give_their_model(name: str, answers: list[Client]) -> None:
    w = answers[0].state
    same = [Client(w, a.examples, a.loss, a.chance, a.steps, a.sensitivity) for a in answers]
    merged = played(name, model(77), same)
    assert_states_close(merged, model(77) | {n: w[n] for n in merged_in_round_one(name)})


@pytest.mark.parametrize("name", CONVEX)
@quick
@given(answers=cohorts, value=st.floats(0.5, 4, width=16))
def test_a_constant_is_kept_and_each_weight_stays_between_the_clients(
    name: str, answers: list[Client], value: float
) -> None:
    for answer in answers:
        for tensor in ("encoder.conv.weight", "encoder.bn.running_mean"):
            answer.state[tensor].fill_(value)
    merged = played(name, model(77), answers)
    for tensor in merged_in_round_one(name):
        w = merged[tensor]
        if tensor in ("encoder.conv.weight", "encoder.bn.running_mean"):
            torch.testing.assert_close(w, torch.full_like(w, value))
        values = torch.stack([a.state[tensor] for a in answers])
        assert (w <= values.amax(0) + 1e-4).all()
        assert (w >= values.amin(0) - 1e-4).all()
