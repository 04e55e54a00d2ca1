"""What the objectives' tests share."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from fedssl.base.seeding import seeded_initialisation
from fedssl.modalities.image.vit import VisionTransformer
from fedssl.objectives import Batch, Objective
from fedssl.objectives.mae import MAE

Kind = TypeVar("Kind", bound=Objective)


class TinyEncoder(nn.Module):
    """A convolution and its BatchNorm: examples [B, 3, H, W] to 12 features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = 12
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, examples: Tensor) -> Tensor:
        features: Tensor = self.layers(examples).flatten(1)
        return features


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make_batch(count: int = 16, seed: int = 0, views: int = 2) -> Batch:
    examples = normal(count, 3, 8, 8, seed=seed)
    shown = [examples + 0.1 * normal(count, 3, 8, 8, seed=seed + n) for n in range(1, views + 1)]
    draws = torch.Generator().manual_seed(seed)
    return Batch(shown, torch.arange(count), torch.arange(count) % 3, draws)


def batch_of(objective: Objective, count: int = 32, seed: int = 0) -> Batch:
    return make_batch(count, seed, objective.number_of_views)


def encoder_for(kind: type[Objective]) -> nn.Module:
    """Return a tiny encoder that an objective can train, of examples of 8×8 pixels or more."""
    return VisionTransformer(patch=2, width=12, depth=1, heads=3) if kind is MAE else TinyEncoder()


def make_objective(
    kind: type[Kind], projector: tuple[int, ...] = (16, 8), **fields: object
) -> Kind:
    """Make an objective, as a client of 32 examples starts with it."""
    with seeded_initialisation(0):
        objective = kind(encoder_for(kind), projector, kind.Config.model_validate(fields))
    objective.resize(32)
    objective.start(torch.Generator())
    return objective


EXTREME = {
    "identical views": (normal(6, 5), normal(6, 5)),
    "huge norms": (1e12 * normal(6, 5), -1e12 * normal(6, 5, seed=1)),
    "tiny norms": (1e-15 * normal(6, 5), 1e-15 * normal(6, 5, seed=1)),
    "equal rows": (normal(1, 5).expand(6, 5), normal(1, 5, seed=1).expand(6, 5)),
    "zeros": (torch.zeros(6, 5), torch.zeros(6, 5)),
}
"""Pairs of projections [6, 5] on which a careless loss gives NaN."""


def three_views(name: str) -> Tensor:
    """Return an `EXTREME` pair and the mean of both, [3, 6, 5]."""
    first, second = EXTREME[name]
    return torch.stack([first, second, (first + second) / 2])


def gradients_are_finite(loss: Tensor, inputs: list[Tensor]) -> bool:
    found = torch.autograd.grad(loss, inputs)
    return bool(loss.isfinite()) and all(bool(g.isfinite().all()) for g in found)
