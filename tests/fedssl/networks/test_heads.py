"""The builder of projectors and predictors."""

from typing import Literal

import pytest
import torch
from torch import nn

from fedssl.networks.heads import mlp


def test_hidden_layers_have_batchnorm_and_relu_and_the_last_is_linear() -> None:
    kinds = [type(layer) for layer in mlp([8, 6, 5, 4], last_norm="none")]
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds == [*block, *block, nn.Linear]


@pytest.mark.parametrize(("last_norm", "extra"), [("none", 4), ("plain", 0), ("affine", 8)])
def test_the_last_norm(last_norm: Literal["none", "plain", "affine"], extra: int) -> None:
    head = mlp([8, 4], last_norm=last_norm)
    assert sum(p.numel() for p in head.parameters()) == 8 * 4 + extra
    out = head(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)))
    assert out.shape == (64, 4)
    standardised = torch.allclose(out.std(0, correction=0), torch.ones(4), atol=1e-3)
    assert standardised == (last_norm != "none")


def test_a_single_width_is_the_identity() -> None:
    x = torch.randn(3, 8)
    assert torch.equal(mlp([8], last_norm="plain")(x), x)
