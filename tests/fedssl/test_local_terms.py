"""The terms of the loss by their formulas, and what they leave untouched."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedssl.asked import Asked
from fedssl.local_terms import LocalTerms, model_contrast, proximal
from fedssl.objectives import Batch, Objective, ObjectiveConfig
from fedssl.state import State, clone, federated_state
from simulations.experiment import Experiment
from tests.fedssl.blueprints import blueprint

Small = Callable[..., Experiment]
quick = settings(deadline=None, max_examples=25)
rows = st.lists(
    # Hundredths: where a norm is all but zero, the cosine is a matter of rounding.
    st.lists(st.integers(-300, 300).map(lambda n: n / 100), min_size=3, max_size=3),
    min_size=2,
    max_size=2,
)


def test_the_proximal_term_and_its_gradient() -> None:
    weights = {
        "a": torch.tensor([1.0, 2.0], requires_grad=True),
        "b": torch.ones((), requires_grad=True),
    }
    term = proximal(weights, {"a": torch.tensor([0.0, 4.0]), "b": torch.tensor(3.0)})
    assert term.item() == (1 + 4 + 4) / 2
    torch.autograd.backward(term)
    assert weights["a"].grad is not None
    assert weights["a"].grad.tolist() == [1.0, -2.0]


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


def setting(small: Small, name: str) -> tuple[Objective, State, State, Batch]:
    objective = blueprint(small(f"objective={{name: {name}}}"), 16).build()
    objective.train()
    start = clone(federated_state(objective))
    draws = torch.Generator().manual_seed(0)
    own = {
        n: t + 0.1 * torch.randn(t.shape, generator=draws) if t.is_floating_point() else t
        for n, t in start.items()
    }
    own = {n: t.abs() if n.endswith("var") else t for n, t in own.items()}
    views = [torch.randn(6, 3, 16, 16, generator=draws) for _ in range(2)]
    return objective, start, own, Batch(views, torch.arange(6))


def projections(objective: Objective, state: State, examples: Tensor) -> list[list[float]]:
    """What a copy of the objective with these tensors makes of examples."""
    model = copy.deepcopy(objective)
    model.load_state_dict(state, strict=False)
    rows: list[list[float]] = model.projector(model.encoder(examples)).tolist()
    return rows


@pytest.mark.parametrize("name", ["simclr", "byol", "simsiam", "barlow"])
def test_moons_term_is_that_of_the_objectives_own_views(small: Small, name: str) -> None:
    objective, start, own, batch = setting(small, name)
    reference = copy.deepcopy(objective)
    before = clone(start), clone(own)
    asked = Asked(moon_mu=0.3, moon_temperature=0.7)
    with LocalTerms(objective, asked, start, own) as terms:
        loss = objective(batch)
        whole = terms.added_to(loss)
    parts = [torch.cat(batch.views)] if name == "simclr" else batch.views
    expected = []
    for part in parts:
        z, p = (projections(reference, model, part) for model in (start, own))
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


def test_on_a_first_visit_there_is_no_term_of_moons(small: Small) -> None:
    objective, start, _, batch = setting(small, "simclr")
    with LocalTerms(objective, Asked(moon_mu=1.0), start, {}) as terms:
        loss = objective(batch)
        assert terms.added_to(loss) is loss


def test_the_proximal_term_covers_the_federated_parameters(small: Small) -> None:
    objective, start, _, batch = setting(small, "byol")
    shifted = {n: t + 1 if t.is_floating_point() else t for n, t in start.items()}
    trained = [p for p in objective.parameters() if p.requires_grad]
    with LocalTerms(objective, Asked(proximal_mu=0.5), shifted, {}) as terms:
        loss = objective(batch)
        added = (terms.added_to(loss) - loss).item()
    assert added == pytest.approx(0.5 / 2 * sum(p.numel() for p in trained), rel=1e-4)


def naive_sensitivity(objective: Objective, examples: list[Tensor]) -> dict[str, float]:
    model = copy.deepcopy(objective)
    squares, views = torch.zeros(()), 0
    for part in examples:
        projection = model.projector(model.encoder(part))
        squares = squares + sum(z @ z for z in projection)
        views += len(part)
    torch.autograd.backward(squares / views)
    return {
        n: 0.0 if p.grad is None else float(p.grad.double().norm())
        for n, p in model.named_parameters()
        if not n.startswith("target.")
    }


@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_sensitivity_is_a_moving_average_of_the_gradients_norm(small: Small, name: str) -> None:
    objective, start, _, batch = setting(small, name)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.5)
    expected: dict[str, float] = {}
    with LocalTerms(objective, Asked(sensitivity_decay=0.8), start, {}) as terms:
        for _ in range(3):
            parts = [torch.cat(batch.views)] if name == "simclr" else batch.views
            now = naive_sensitivity(objective, parts)
            expected = {n: 0.8 * expected.get(n, v) + 0.2 * v for n, v in now.items()}
            loss = terms.added_to(objective(batch))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    assert list(terms.sensitivity()) == [
        n for n in start if n in dict(objective.named_parameters())
    ]
    assert terms.sensitivity() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert all(v == 0 for n, v in expected.items() if n.startswith("predictor."))
    assert expected["encoder.layers.0.weight"] > 0


class Headless(Objective):
    """Never projects its encoder's features."""

    def forward(self, batch: Batch) -> Tensor:
        features: Tensor = self.encoder(batch.views[0])
        return features.square().mean()


def test_an_objective_that_projects_something_else_is_refused(small: Small) -> None:
    other = blueprint(small(), 16).build()
    objective = Headless(other.encoder, (), ObjectiveConfig(name="none"))
    objective.encoder, objective.projector = other.encoder, other.projector
    start = federated_state(objective)
    with (
        LocalTerms(objective, Asked(sensitivity_decay=0.5), start, {}) as terms,
        pytest.raises(ValueError, match="Headless does not project"),
    ):
        terms.added_to(objective(Batch([torch.randn(4, 3, 16, 16)], torch.arange(4))))


def test_hooks_are_gone_afterwards(small: Small) -> None:
    objective, start, own, batch = setting(small, "simclr")
    with LocalTerms(objective, Asked(moon_mu=1.0), start, own) as terms:
        terms.added_to(objective(batch))
    assert not objective.encoder._forward_hooks
    assert not objective.projector._forward_hooks
