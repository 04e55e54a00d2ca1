"""MOON's term by its formula, and what it leaves untouched."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedssl.client_rules.moon import ModelContrast, model_contrast
from fedssl.model_state import clone
from tests.tools.client_rules import (
    Small,
    client_round,
    constant_state,
    make_setting,
    projections,
    remembered,
    run_rules,
)

quick = settings(deadline=None, max_examples=25)
rows = st.lists(
    # Hundredths: where a norm is all but zero, the cosine is a matter of rounding.
    st.lists(st.integers(-300, 300).map(lambda n: n / 100), min_size=3, max_size=3),
    min_size=2,
    max_size=2,
)


def naive_contrast(
    z: list[list[float]], g: list[list[float]], p: list[list[float]], t: float
) -> float:
    def cosine(a: list[float], b: list[float]) -> float:
        norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        return sum(x * y for x, y in zip(a, b, strict=True)) / max(norms, 1e-8)

    total = 0.0
    for own, to, away in zip(z, g, p, strict=True):
        near, far = math.exp(cosine(own, to) / t), math.exp(cosine(own, away) / t)
        total -= math.log(near / (near + far))
    return total / len(z)


@quick
@given(rows, rows, rows, st.floats(0.2, 2))
def test_the_contrast_of_models_by_its_formula(
    z: list[list[float]], g: list[list[float]], p: list[list[float]], temperature: float
) -> None:
    term = model_contrast(torch.tensor(z), torch.tensor([g, p]), temperature)
    assert term.item() == pytest.approx(naive_contrast(z, g, p, temperature), abs=1e-5)


def test_a_model_equally_near_to_both_gets_log_two() -> None:
    z = torch.randn(4, 3)
    assert model_contrast(z, torch.stack([z, z]), 0.5).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", ["simclr", "byol", "simsiam", "barlow"])
def test_the_term_is_that_of_the_objectives_own_views(small: Small, name: str) -> None:
    objective, start, own, batch = make_setting(small, name)
    reference = copy.deepcopy(objective)
    before = clone(start), clone(own)
    rule = ModelContrast(ModelContrast.Config(mu=0.3, temperature=0.7))
    with run_rules(rule, objective, start, memory=own) as rules:
        loss = objective(batch)
        whole = rules.total_loss(loss, batch)
    parts = [torch.cat(batch.views)] if name == "simclr" else batch.views
    expected = []
    for part in parts:
        z, p = (projections(reference, model, part).tolist() for model in (start, own))
        expected.append(naive_contrast(z, z, p, 0.7))
    assert (whole - loss).item() == pytest.approx(0.3 * sum(expected) / len(expected), abs=1e-5)
    # The models that it is compared with stay as they were, and so does what it trains.
    reference(batch)
    assert all(torch.equal(t, before[0][n]) for n, t in start.items())
    assert all(torch.equal(t, before[1][n]) for n, t in own.items())
    states = objective.state_dict(), reference.state_dict()
    assert all(torch.equal(t, states[1][n]) for n, t in states[0].items())
    gradients = torch.autograd.grad(whole, list(objective.projector.parameters()))
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize(("mu", "first"), [(1.0, True), (0.0, False)])
def test_on_a_first_visit_or_without_weight_there_is_no_term(
    small: Small, mu: float, first: bool
) -> None:
    objective, start, own, batch = make_setting(small, "simclr")
    rule = ModelContrast(ModelContrast.Config(mu=mu))
    with run_rules(rule, objective, start, memory={} if first else own) as rules:
        loss = objective(batch)
        assert rules.total_loss(loss, batch) is loss


def test_encoder_and_projector_are_remembered() -> None:
    kept = remembered(ModelContrast(ModelContrast.Config(mu=1.0)), client_round(), after=3.0)
    assert kept.keys() == {n for n in constant_state(1.0) if not n.startswith("predictor.")}
    assert all((tensor == 3.0).all() for tensor in kept.values())
    assert remembered(ModelContrast(ModelContrast.Config(mu=0.0)), client_round()) == {}
