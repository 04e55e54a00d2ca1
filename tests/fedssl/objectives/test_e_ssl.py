"""E-SSL: turns, and the term that tells them apart."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fedssl.modalities.image import IMAGE
from fedssl.modalities.image.turns import four_ways
from fedssl.objectives.e_ssl import ESSL
from tests.tools.objectives import TinyEncoder, make_batch, normal


def a_term(**fields: object) -> ESSL:
    return ESSL(ESSL.Config.model_validate(fields), "simclr", 12, IMAGE)


def test_examples_are_turned_four_ways() -> None:
    examples = normal(3, 2, 4, 4)
    turned = four_ways(examples).view(4, 3, 2, 4, 4)
    for quarter in range(4):
        expected = np.rot90(examples.numpy(), quarter, axes=(2, 3))
        assert np.array_equal(turned[quarter].numpy(), expected)


def test_it_is_the_cross_entropy_of_the_turns_of_a_smaller_view() -> None:
    term, encoder, batch = a_term(weight=0.3, width=16), TinyEncoder(), make_batch(5, views=1)
    small = F.interpolate(batch.views[0], size=(4, 4), mode="area")
    logits = term.head(encoder(torch.cat([torch.rot90(small, k, (2, 3)) for k in range(4)])))
    expected = torch.stack([-logits.log_softmax(1)[n, n // 5] for n in range(20)]).mean()
    torch.testing.assert_close(term(encoder, torch.empty(0), batch), 0.3 * expected)


def test_known_values() -> None:
    term = a_term(weight=2.0, width=16)
    for parameter in term.head[-1].parameters():
        torch.nn.init.zeros_(parameter)
    loss = term(TinyEncoder(), torch.empty(0), make_batch(5, views=1))
    assert loss.item() == pytest.approx(2 * math.log(4))


def test_turns_are_learned() -> None:
    term, encoder = a_term(width=16), TinyEncoder()
    # Bright above, dark below, with noise: the encoder averages over places, so edges must tell.
    ramp = torch.linspace(1, -1, 8)[:, None].expand(8, 8)
    batch = make_batch(16, views=1)
    batch.views[0].mul_(0.1).add_(ramp)
    optimizer = torch.optim.Adam([*term.parameters(), *encoder.parameters()], lr=0.01)
    losses = []
    for _ in range(40):
        loss = term(encoder, torch.empty(0), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("scale", [0.0, 1e6])
def test_extreme_examples_stay_finite(scale: float) -> None:
    term, encoder, batch = a_term(width=16), TinyEncoder(), make_batch(3, views=1)
    batch.views[0].mul_(scale)
    loss = term(encoder, torch.empty(0), batch)
    found = torch.autograd.grad(loss, list(encoder.parameters()))
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in found)
