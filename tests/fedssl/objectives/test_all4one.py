"""All4One: its parts against their formulas, and how they are put together."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fedssl.model_state import federated_state, private_tensors
from fedssl.objectives.all4one import All4One, Centroid, feature_loss, positions
from tests.tools.formulas import nnclr_by_formula
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


def features_by_the_formula(z: tuple[Tensor, Tensor], t: tuple[Tensor, Tensor]) -> float:
    on: list[float] = []
    off: list[float] = []
    for target, other in ((t[0], z[1]), (t[1], z[0])):
        for i, a in enumerate(target.T):
            for j, b in enumerate(other.T):
                c = (a @ b / (a.norm() * b.norm())).item()
                (on if i == j else off).append((c - 1) ** 2 if i == j else c**2)
    return math.sqrt(sum(on) / len(on)) / 2 + math.sqrt(sum(off) / len(off)) / 2


def test_the_feature_loss_is_the_formula() -> None:
    z1, z2, t1, t2 = (normal(8, 5, seed=s) for s in range(4))
    expected = features_by_the_formula((z1, z2), (t1, t2))
    assert feature_loss(z1, z2, t1, t2).item() == pytest.approx(expected, rel=1e-5)


def test_known_values_of_the_feature_loss() -> None:
    z = 3 * torch.eye(4)
    assert feature_loss(z, z, z, z).item() == pytest.approx(0, abs=1e-6)
    assert feature_loss(-z, -z, z, z).item() == pytest.approx(1)
    moved = z.roll(1, 1)
    assert feature_loss(z, z, moved, moved).item() == pytest.approx(0.5 + math.sqrt(4 / 12) / 2)


def test_gradients_of_the_feature_loss_flow_into_the_projections_alone() -> None:
    z1, z2, t1, t2 = (normal(5, 3, seed=s, dtype=torch.float64).requires_grad_() for s in range(4))
    assert torch.autograd.gradcheck(lambda a, b: feature_loss(a, b, t1, t2), [z1, z2])
    feature_loss(z1, z2, t1, t2).backward()  # type: ignore[no-untyped-call]
    assert t1.grad is None
    assert t2.grad is None


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    z1, z2 = (z.clone().requires_grad_() for z in EXTREME[name])
    assert gradients_are_finite(feature_loss(z1, z2, *EXTREME[name]), [z1, z2])


def test_positions_are_those_of_the_paper() -> None:
    found = positions(5, 6)
    for p in range(5):
        for k in range(3):
            angle = p / 10_000 ** (2 * k / 6)
            assert found[p, 2 * k].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[p, 2 * k + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    assert positions(5, 3).shape == (5, 3)


@pytest.mark.parametrize("width", [3, 8])
def test_a_centroid_depends_on_all_five_and_on_their_order(width: int) -> None:
    centroid, vectors = Centroid(width), normal(2, 5, width)
    out = centroid(vectors)
    assert out.shape == (2, width)
    for place in range(5):
        moved = vectors.clone()
        moved[:, place] += 1
        assert not torch.allclose(centroid(moved), out, atol=1e-5)
    assert not torch.allclose(centroid(vectors.flip(1)), out, atol=1e-5)
    assert torch.equal(centroid(vectors), out)


@pytest.mark.parametrize("held", [0, 3, 12])
def test_the_objective_is_put_together_as_published(held: int) -> None:
    objective = make_objective(
        All4One, temperature=0.3, centroid_temperature=0.2, feature_weight=2.0, predictor_width=8
    )
    batch, queue = make_batch(), F.normalize(normal(held, 8), dim=1)
    for parameter in objective.target.parameters():
        parameter.mul_(1.5)
    objective.queue.push(queue)
    z = [objective.projector(objective.encoder(view)) for view in batch.views]
    t = [F.normalize(objective.target(view), dim=1) for view in batch.views]
    near = []
    for target in t:
        order = (target @ queue.T).argsort(1, descending=True)[:, :5]
        found = queue[order] if held else target.unsqueeze(1)
        near.append(torch.cat([found, found[:, -1:].expand(-1, 5 - found.shape[1], -1)], 1))
    nearest = centroids = 0.0
    for one, other in ((0, 1), (1, 0)):
        nearest += nnclr_by_formula(near[one][:, 0], objective.predictor(z[other]), 0.3) / 2
        asked = objective.centroid_predictor(z[other])
        shifted = torch.stack([asked, *near[other].unbind(1)[:4]], dim=1)
        centroids += (
            nnclr_by_formula(objective.centroid(near[one]), objective.centroid(shifted), 0.2) / 2
        )
    features = features_by_the_formula((z[0], z[1]), (t[0], t[1]))
    expected = nearest / 2 + centroids / 2 + 2 * features
    assert objective(batch).item() == pytest.approx(expected, rel=1e-4)


def test_target_and_queue_are_private_and_the_queue_gets_the_first_views_targets() -> None:
    objective, batch = make_objective(All4One), make_batch()
    assert {n.split(".")[0] for n in private_tensors(objective)} == {"target", "queue"}
    assert {n.split(".")[0] for n in federated_state(objective)} == {
        "encoder",
        "projector",
        "predictor",
        "centroid_predictor",
        "centroid",
    }
    keys = F.normalize(objective.target(batch.views[0]), dim=1)
    objective(batch)
    objective.after_step(0.0)
    torch.testing.assert_close(objective.queue.filled(), keys)
    objective.start(torch.Generator())
    assert len(objective.queue.filled()) == 0
