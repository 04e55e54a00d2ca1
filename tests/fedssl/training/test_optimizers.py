import math

import pytest
import torch
from torch import nn

from fedssl.config import ClientConfig
from fedssl.training.optimizers import (
    LARS,
    build_optimizer,
    learning_rate,
    optimizer_state,
    restore_optimizer,
)


def test_constant_with_warmup() -> None:
    config = ClientConfig(lr=0.3, warmup_rounds=2)
    rates = [learning_rate(config, r, 5) for r in range(1, 6)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3])


def test_cosine_starts_full_and_nearly_ends() -> None:
    config = ClientConfig(lr=1.0, schedule="cosine")
    rates = [learning_rate(config, r, 4) for r in range(1, 5)]
    assert rates == pytest.approx([0.5 * (1 + math.cos(math.pi * t / 4)) for t in range(4)])
    assert min(rates) > 0


def test_lars_follows_its_formula() -> None:
    torch.manual_seed(0)
    weight, bias = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4))
    w, b = weight.detach().clone(), bias.detach().clone()
    buffer_w, buffer_b = torch.zeros_like(w), torch.zeros_like(b)
    optimizer = LARS([weight, bias], lr=0.5, momentum=0.9, weight_decay=0.1, trust=0.01)
    for _ in range(3):
        weight.grad, bias.grad = torch.randn(4, 3), torch.randn(4)
        g = weight.grad + 0.1 * w
        buffer_w = 0.9 * buffer_w + g * 0.01 * w.norm() / g.norm()
        buffer_b = 0.9 * buffer_b + bias.grad
        w, b = w - 0.5 * buffer_w, b - 0.5 * buffer_b
        optimizer.step()
    torch.testing.assert_close(weight.detach(), w)
    torch.testing.assert_close(bias.detach(), b)


def test_lars_leaves_zero_weights_and_gradients_finite() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.zeros(2, 2)
    LARS([weight], lr=0.1).step()
    assert torch.equal(weight.detach(), torch.zeros(2, 2))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_a_kept_state_goes_on_as_if_never_interrupted(name: str) -> None:
    config = ClientConfig.model_validate({"optimizer": name, "lr": 0.01})

    def step(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        parameter.grad = torch.full_like(parameter, 0.3) * parameter.detach()
        optimizer.step()

    start = torch.randn(3, 3)
    straight = nn.Parameter(start.clone())
    optimizer = build_optimizer([straight], config)
    step(straight, optimizer)
    state = {k: v.clone() for k, v in optimizer_state(optimizer).items()}
    moved = nn.Parameter(straight.detach().clone())
    other = build_optimizer([moved], config)
    step(nn.Parameter(torch.ones(1)), other)
    restore_optimizer(other, state)
    step(straight, optimizer)
    step(moved, other)
    assert torch.equal(straight, moved)


def test_an_empty_state_makes_the_optimizer_new() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = build_optimizer([parameter], ClientConfig())
    parameter.grad = torch.ones(2)
    optimizer.step()
    assert optimizer_state(optimizer)
    restore_optimizer(optimizer, {})
    assert not optimizer_state(optimizer)
