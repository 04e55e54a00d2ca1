"""What the evaluation's tests share."""

from typing import Any

import torch
from torch import Tensor, nn

from fedssl.data import Dataset, Splits
from fedssl.evaluation import EvaluationConfig, Subject, gather
from fedssl.modalities.image.preparation import Normalisation
from fedssl.modalities.image.views.policies import POLICIES
from fedssl.modalities.image.views.recipe import Views

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
PREPARATION = Normalisation(MEAN, STD)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(
    count: int, width: int, classes: int = 4, spread: float = 1.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return features [count, width] around a centre for each class, and labels [count]."""
    centers = torch.randn(classes, width, generator=rng(99))
    labels = torch.randint(classes, (count,), generator=rng(seed))
    noise = torch.randn(count, width, generator=rng(seed + 1))
    return centers[labels] + spread * noise, labels


class Noisy(nn.Module):
    """A convolution, BatchNorm and dropout: what eval mode must freeze."""

    def __init__(self) -> None:
        super().__init__()
        self.features = 8
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)
        )
        with torch.no_grad():
            for n, parameter in enumerate(self.parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=rng(n)))

    def forward(self, examples: Tensor) -> Tensor:
        features: Tensor = self.layers(examples).mean((2, 3))
        return features


def colors(count: int, labelled: bool = True, seed: int = 0) -> Dataset:
    """Return examples 8×8 of three classes: mostly red, mostly green, mostly blue."""
    labels = torch.arange(count) % 3
    examples = torch.randint(0, 100, (count, 3, 8, 8), generator=rng(seed), dtype=torch.uint8)
    examples[torch.arange(count), labels] += 120
    names = ("red", "green", "blue") if labelled else ()
    return Dataset(examples, labels if labelled else torch.full((count,), -1), names)


def color_splits(labelled: bool = True) -> Splits:
    return Splits(colors(90, labelled), colors(45, seed=1))


def a_subject(
    encoder: nn.Module,
    splits: Splits | None = None,
    config: EvaluationConfig | None = None,
    **fields: Any,
) -> Subject:
    """Return a subject that looks at colours, where no other examples are given."""
    splits, config = splits or color_splits(), config or EvaluationConfig()
    return Subject(
        encoder=encoder,
        examples=gather(splits, config),
        config=config,
        preparation=PREPARATION,
        seed=0,
        view=Views(POLICIES["simclr"].steps, MEAN, STD),
        weak_view=Views(POLICIES["weak"].steps, MEAN, STD),
        train=splits.train,
        **fields,
    )
