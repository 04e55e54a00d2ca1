"""The loss of chance: that of an encoder that tells nothing apart."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fedssl.objectives import OBJECTIVES, Batch, Objective
from fedssl.objectives.all4one import All4One, feature_loss
from fedssl.objectives.diet import DIET
from fedssl.objectives.dino import DINO
from fedssl.objectives.moco import MoCo
from fedssl.objectives.mv_dhel import MVDHEL, mv_dhel
from fedssl.objectives.supervised import Supervised
from tests.tools.objectives import batch_of, make_objective, normal


def all_alike(objective: Objective, count: int) -> Batch:
    batch = batch_of(objective, count)
    one = normal(1, 3, 8, 8)
    return replace(batch, views=[one.expand(count, -1, -1, -1) for _ in batch.views])


def loss_of(objective: Objective, batch: Batch) -> float:
    loss: Tensor = objective(batch)
    return loss.item()


@pytest.mark.parametrize("count", [4, 9])
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("simclr", {}),
        ("simclr", {"margin": 0.1}),
        ("dcl", {}),
        ("dclw", {}),
        ("moco", {}),
        ("nnclr", {}),
        ("all4one", {"feature_weight": 0.0}),
        ("cacr", {}),
        ("mv-infonce", {"views": 3}),
        ("pal", {}),
    ],
)
def test_it_is_the_loss_where_all_examples_are_the_same(
    name: str, fields: dict[str, Any], count: int
) -> None:
    objective = make_objective(OBJECTIVES[name], **fields)
    chance = objective.chance_loss(count)
    assert loss_of(objective, all_alike(objective, count)) == pytest.approx(chance, abs=2e-3)


def test_all4ones_counts_features_that_all_correlate() -> None:
    same = torch.ones(6, 8)
    assert feature_loss(same, same, same, same).item() == pytest.approx(1 / 2, abs=1e-5)
    assert make_objective(All4One, feature_weight=3.0).chance_loss(6) == pytest.approx(
        math.log(6) + 3 / 2
    )


def test_mocos_grows_with_its_queue() -> None:
    objective = make_objective(MoCo)
    batch = all_alike(objective, 6)
    for keys in (0, 6, 12):
        assert objective.chance_loss(6) == pytest.approx(math.log(1 + keys if keys else 6))
        assert loss_of(objective, batch) == pytest.approx(objective.chance_loss(6), abs=1e-4)
        objective.after_step(0.0)


@pytest.mark.parametrize("views", [2, 4])
def test_mv_dhels_is_the_loss_of_orthogonal_views(views: int) -> None:
    apart = torch.eye(views * 5).view(views, 5, -1)
    expected = make_objective(MVDHEL, views=views).chance_loss(5)
    assert mv_dhel(apart, 0.5).item() == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_classifiers_that_find_all_classes_equally_likely() -> None:
    diet, supervised, dino = (
        make_objective(DIET),
        make_objective(Supervised, classes=7),
        make_objective(DINO, prototypes=11),
    )
    diet.head.zero_()
    for parameter in supervised.classifier.parameters():
        parameter.zero_()
    dino.prototypes.weight.copy_(dino.prototypes.weight[:1].expand(11, -1))
    for objective, classes in ((diet, 32), (supervised, 7), (dino, 11)):
        assert objective.chance_loss(8) == pytest.approx(math.log(classes))
        assert loss_of(objective, batch_of(objective)) == pytest.approx(math.log(classes), abs=1e-5)
