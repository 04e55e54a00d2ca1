"""NNCLR: its loss against the formula, its neighbours against lightly and a plain search."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.models.modules import NNMemoryBankModule
from torch.nn import functional as F

from fedssl.model_state import private_tensors
from fedssl.objectives.nnclr import NNCLR, nearest, neighbour_contrast
from tests.tools.formulas import nnclr_by_formula
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_it_is_the_formula(temperature: float) -> None:
    n, p = normal(6, 4), normal(6, 4, seed=1)
    expected = nnclr_by_formula(n, p, temperature)
    assert neighbour_contrast(n, p, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_gradients() -> None:
    inputs = [normal(4, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1)]
    assert torch.autograd.gradcheck(lambda a, b: neighbour_contrast(a, b, 0.3), inputs)


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    n, p = EXTREME[name]
    p = p.clone().requires_grad_()
    assert gradients_are_finite(neighbour_contrast(n, p, 0.05), [p])


@given(st.integers(1, 6), st.integers(0, 5), st.integers(1, 7), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_neighbours_are_those_of_a_plain_search(
    count: int, held: int, wanted: int, seed: int
) -> None:
    vectors = F.normalize(normal(count, 3, seed=seed), dim=1)
    queue = F.normalize(normal(held, 3, seed=seed + 100), dim=1)
    found = nearest(vectors, queue, wanted)
    assert found.shape == (count, wanted, 3)
    for vector, row in zip(vectors, found, strict=True):
        order = sorted(range(held), key=[-(q @ vector).item() for q in queue].__getitem__)
        ranked = [queue[k] for k in order] or [vector]
        expected = [ranked[min(k, len(ranked) - 1)] for k in range(wanted)]
        assert torch.equal(row, torch.stack(expected))


def test_the_nearest_is_lightlys() -> None:
    queue = F.normalize(normal(10, 4), dim=1)
    bank = NNMemoryBankModule(size=(10, 4))
    bank.bank = queue
    vectors = F.normalize(normal(5, 4, seed=1), dim=1)
    torch.testing.assert_close(nearest(vectors, queue).squeeze(1), bank(vectors))


@pytest.mark.parametrize("held", [0, 12])
def test_each_views_neighbour_is_contrasted_with_the_others_prediction(held: int) -> None:
    objective, batch = (
        make_objective(NNCLR, temperature=0.3, queue=12, predictor_width=8),
        make_batch(),
    )
    queue = F.normalize(normal(held, 8), dim=1)
    objective.queue.push(queue)
    z1, z2 = (objective.projector(objective.encoder(view)) for view in batch.views)
    p1, p2 = objective.predictor(z1), objective.predictor(z2)
    n1, n2 = (queue[(F.normalize(z, dim=1) @ queue.T).argmax(1)] if held else z for z in (z1, z2))
    expected = (nnclr_by_formula(n1, p2, 0.3) + nnclr_by_formula(n2, p1, 0.3)) / 2
    assert objective(batch).item() == pytest.approx(expected, rel=1e-4)


def test_the_first_views_projections_enter_the_queue_which_is_private() -> None:
    objective, batch = make_objective(NNCLR, queue=40), make_batch()
    z1 = F.normalize(objective.projector(objective.encoder(batch.views[0])), dim=1)
    objective(batch)
    objective.after_step(0.0)
    torch.testing.assert_close(objective.queue.filled(), z1)
    objective.start(torch.Generator())
    assert len(objective.queue.filled()) == 0
    assert {n.split(".")[0] for n in private_tensors(objective)} == {"queue"}
