"""Rounds that are sums: what clients add, once finished, is what the fold makes of them."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings

from strategies import STRATEGIES, FedAvg, FoldingStrategy, Median
from strategies.base import build_instructions, shared_state
from strategies.fold import UpdateSummary, merge
from strategies.summed import add_up, contribution, finish, is_sum
from tests.strategies.naive import CHOICES
from tests.tools.strategy_models import State
from tests.tools.strategy_rounds import Client, cohorts, extra_of_client, make_strategy, model
from tests.tools.tensors import assert_states_close

SUMS = {
    *("fedavg", "fedprox", "moon", "fedu", "fedema", "fedbn", "encoder-only", "layer-schedule"),
    *("uniform", "ldawa", "ldawa-released", "ldawa-normalized", "dawa", "const-shrink"),
    *("ldawa-renorm", "fednova", "fedavgm", "fedadam", "fedyogi", "fedadagrad"),
    *("scaffold", "feddyn", "fedx"),
}


def built(name: str) -> FoldingStrategy:
    strategy = make_strategy(name, **CHOICES.get(name, {}))
    assert isinstance(strategy, FoldingStrategy)
    strategy.population = 7
    return strategy


def awaited(strategy: FoldingStrategy, g: State) -> State:
    withheld = build_instructions(strategy, 1, g).transmission.absent_from_reply
    return {n: t for n, t in shared_state(strategy, g).items() if n not in withheld}


def summaries(strategy: FoldingStrategy, answers: Sequence[Client]) -> list[UpdateSummary]:
    rules = strategy.rules(1)
    return [
        UpdateSummary(
            a.examples,
            a.loss,
            {"num-steps": a.steps, "chance-loss": a.chance},
            extra_of_client(rules, a),
        )
        for a in answers
    ]


def test_which_strategies_say_that_their_round_is_a_sum() -> None:
    g = model(77)
    said = set()
    for name in STRATEGIES:
        strategy = built(name)
        if is_sum(strategy, 1, awaited(strategy, g)):
            said.add(name)
    assert said >= SUMS
    assert not said & {"median", "krum", "elastic", "loss-weighted"}


@pytest.mark.parametrize("name", sorted(SUMS))
@settings(deadline=None, max_examples=8)
@given(answers=cohorts)
def test_the_sum_of_what_clients_add_is_what_the_fold_makes(
    name: str, answers: list[Client]
) -> None:
    g = model(77)
    on_server, on_clients, by_fold = built(name), built(name), built(name)
    sent = awaited(by_fold, g)
    told = summaries(by_fold, answers)
    states = [{n: a.state[n] for n in sent} for a in answers]
    total = add_up(
        contribution(on_clients, 1, sent, state, summary)
        for state, summary in zip(states, told, strict=True)
    )
    merged = finish(on_server, 1, sent, total)
    expected = merge(by_fold.start_fold(1, sent), states, told)
    floats = [n for n, t in expected.items() if t.is_floating_point()]
    assert_states_close({n: merged[n] for n in floats}, {n: expected[n] for n in floats})
    assert {n: (t.shape, t.dtype) for n, t in merged.items()} == {
        n: (t.shape, t.dtype) for n, t in expected.items()
    }
    if hasattr(by_fold, "state_dict"):
        assert_states_close(on_server.state_dict(), by_fold.state_dict())  # type: ignore[attr-defined]


def test_counters_become_their_rounded_mean_by_weight() -> None:
    g = {"encoder.bn.num_batches_tracked": torch.tensor(3)}
    parts = [(torch.tensor(4), 1), (torch.tensor(8), 3)]
    total = add_up(
        contribution(
            FedAvg(), 1, g, {"encoder.bn.num_batches_tracked": counter}, UpdateSummary(examples)
        )
        for counter, examples in parts
    )
    assert finish(FedAvg(), 1, g, total) == {"encoder.bn.num_batches_tracked": torch.tensor(7)}


def test_a_client_weighs_its_own_tensors_by_its_own_cosine() -> None:
    strategy = make_strategy("ldawa", warmup_rounds=0)
    assert isinstance(strategy, FoldingStrategy)
    g, w = {"encoder.w": torch.tensor([1.0, 0.0])}, {"encoder.w": torch.tensor([3.0, 4.0])}
    added = contribution(strategy, 1, g, w, UpdateSummary(5))
    torch.testing.assert_close(added["ruled encoder.w"], 0.6 * w["encoder.w"])


def test_a_round_that_is_no_sum_is_refused() -> None:
    g = model(77)
    with pytest.raises(ValueError, match="Median is not a sum"):
        contribution(Median(), 1, g, g, UpdateSummary(1))


def test_what_cannot_be_added_up_is_refused() -> None:
    with pytest.raises(ValueError, match="no contributions"):
        add_up([])
    with pytest.raises(ValueError, match="different names"):
        add_up([{"a": torch.ones(1)}, {"b": torch.ones(1)}])
