"""DINO against lightly and the formula; its teacher, centre and temperatures."""

import math
from dataclasses import replace

import pytest
import torch
from lightly.loss import DINOLoss
from torch import Tensor
from torch.nn import functional as F

from fedssl.model_state import federated_state, private_tensors
from fedssl.objectives.dino import DINO, Prototypes, dino
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal


def lightlys(teacher: Tensor, student: Tensor, centre: Tensor, high: float, low: float) -> Tensor:
    loss = DINOLoss(output_dim=len(centre), teacher_temp=high, student_temp=low)
    loss.center = centre.view(1, 1, -1)
    result: Tensor = loss(list(teacher), list(student))
    return result


def by_the_formula(
    teacher: Tensor, student: Tensor, centre: Tensor, high: float, low: float
) -> float:
    total, terms = 0.0, 0
    for t, target in enumerate(teacher):
        for s, seen in enumerate(student):
            if t == s:
                continue
            for row, other in zip(target, seen, strict=True):
                p = [math.exp(x / high) for x in (row - centre).tolist()]
                q = [math.exp(x / low) for x in other.tolist()]
                for a, b in zip(p, q, strict=True):
                    total -= a / sum(p) * math.log(b / sum(q))
                terms += 1
    return total / terms


@pytest.mark.parametrize("views", [2, 4])
def test_it_is_the_formula_and_lightlys(views: int) -> None:
    teacher, student, centre = normal(2, 5, 6), normal(views, 5, 6, seed=1), normal(6, seed=2)
    loss = dino(teacher, student, centre, 0.5, 0.8)
    assert loss.item() == pytest.approx(by_the_formula(teacher, student, centre, 0.5, 0.8))
    torch.testing.assert_close(loss, lightlys(teacher, student, centre, 0.5, 0.8))


def test_known_values() -> None:
    flat = torch.zeros(2, 3, 8)
    assert dino(flat, flat, torch.zeros(8), 0.04, 0.1).item() == pytest.approx(math.log(8))
    # A centre equal to what the teacher says leaves it undecided.
    said = normal(1, 1, 8).expand(2, 3, 8)
    assert dino(said, flat, said[0, 0], 0.04, 0.1).item() == pytest.approx(math.log(8))


def test_gradients_flow_into_the_student_alone() -> None:
    teacher, student = (normal(2, 3, 4, seed=s, dtype=torch.float64) for s in (0, 1))
    teacher.requires_grad_()
    student.requires_grad_()
    centre = torch.zeros(4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: dino(teacher, s, centre, 0.3, 0.5), [student])
    dino(teacher, student, centre, 0.3, 0.5).backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    head = Prototypes(5, 7)
    teacher, student = torch.stack(EXTREME[name]), torch.stack(EXTREME[name]).requires_grad_()
    loss = dino(head(teacher), head(student), torch.zeros(7), 0.04, 0.1)
    assert gradients_are_finite(loss, [student, head.weight])


def test_prototypes_give_cosines() -> None:
    head, z = Prototypes(5, 7), normal(3, 5)
    expected = F.cosine_similarity(z[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(10 * z), expected)


@pytest.mark.parametrize("views", [2, 3])
def test_the_teacher_sees_two_views_and_the_student_all(views: int) -> None:
    objective = make_objective(DINO, prototypes=6, views=views, teacher_warmup=0.5)
    batch = replace(make_batch(views=views), progress=0.25)
    objective.centre.copy_(normal(6, seed=3))
    student = torch.stack([objective.online()(view) for view in batch.views])
    teacher = torch.stack([objective.target(view) for view in batch.views[:2]])
    expected = lightlys(teacher, student, objective.centre.clone(), 0.055, 0.1)
    torch.testing.assert_close(objective(batch), expected)


def test_the_centre_follows_what_the_teacher_says() -> None:
    objective, batch = make_objective(DINO, prototypes=6, centre_momentum=0.8), make_batch()
    objective.centre.copy_(normal(6))
    mean = torch.cat([objective.target(view) for view in batch.views]).mean(0)
    expected = 0.8 * objective.centre + 0.2 * mean
    objective(batch)
    torch.testing.assert_close(objective.centre, expected)
    objective.start(torch.Generator())
    assert not objective.centre.any()


def test_the_teachers_temperature_rises_over_the_first_rounds() -> None:
    objective = make_objective(DINO, teacher_temperature=0.08, teacher_warmup=0.4)
    found = [objective.teacher_temperature_at(p) for p in (0, 0.1, 0.4, 1)]
    assert found == pytest.approx([0.04, 0.05, 0.08, 0.08])
    assert make_objective(DINO, teacher_warmup=0.0).teacher_temperature_at(0) == 0.07


def test_teacher_and_centre_are_private_and_the_prototypes_federated() -> None:
    objective = make_objective(DINO)
    assert {n.split(".")[0] for n in private_tensors(objective)} == {"target", "centre"}
    federated = {n.split(".")[0] for n in federated_state(objective)}
    assert federated == {"encoder", "projector", "prototypes"}
    objective.after_step(0.0)
