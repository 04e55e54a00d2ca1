"""DCLW: DCL with lightly's weights; `test_dcl` holds the loss itself to its formula."""

import pytest
import torch
from lightly.loss import DCLLoss
from torch import Tensor
from torch.nn import functional as F

from fedssl.objectives.dcl import decoupled
from fedssl.objectives.dclw import DCLW
from tests.tools.objectives import make_batch, make_objective, normal


def lightlys(first: Tensor, second: Tensor, temperature: float, sigma: float) -> Tensor:
    # lightly's own DCLWLoss wraps its weights by torch.tensor(tensor), which warns.
    def weights(one: Tensor, other: Tensor) -> Tensor:
        return 2 - len(one) * F.softmax((one * other).sum(1).detach() / sigma, dim=0)

    loss: Tensor = DCLLoss(temperature, weights)(first, second)
    return loss


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_it_is_lightlys(sigma: float) -> None:
    first, second = normal(32, 16), normal(32, 16, seed=1)
    expected = lightlys(first, second, 0.1, sigma)
    torch.testing.assert_close(decoupled(first, second, 0.1, sigma), expected)


def test_the_farther_pair_attracts_more() -> None:
    first = torch.eye(4, requires_grad=True)
    second = torch.eye(4)
    second[0] = torch.tensor([0.6, 0.0, 0.0, 0.8])
    plain, weighted = (
        torch.autograd.grad(decoupled(first, second, 0.1, sigma), first)[0][0, 3].item()
        for sigma in (None, 0.2)
    )
    assert weighted < plain < 0


def test_the_objective_contrasts_the_projections_of_the_joint_batch() -> None:
    objective, batch = make_objective(DCLW, temperature=0.2, sigma=0.3), make_batch()
    first, second = objective.projector(objective.encoder(torch.cat(batch.views))).chunk(2)
    torch.testing.assert_close(objective(batch), lightlys(first, second, 0.2, 0.3))
