"""A modality in one file, as a person's own would be: points of a plane, float32 [2]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fedssl.data import CustomData, DataConfig, Dataset, Splits
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities import Modality, ModelConfig, NamedPolicy
from fedssl.networks.encoder import EncoderConfig, encoder_registry
from fedssl.views.recipe import Change, Recipe
from fedssl.views.step import Step


class PointData(DataConfig):
    """The ``data`` section of points."""

    modality: str = f"{__name__}.POINTS"


class Rings(PointData):
    """To try things out: points on three rings."""

    name: Literal["rings"] = "rings"
    count: int = 90

    def read(self) -> Splits:
        random = np.random.default_rng(0)
        labels = np.arange(2 * self.count) % 3
        angle = random.uniform(0, 2 * np.pi, len(labels))
        points = (1 + labels) * np.stack([np.cos(angle), np.sin(angle)])
        whole = Dataset(
            torch.from_numpy(points.T.astype(np.float32)).contiguous(),
            torch.from_numpy(labels),
            ("inner", "middle", "outer"),
        )
        rows = np.arange(self.count)
        return Splits(whole.take(rows), whole.take(rows + self.count))


class OwnPoints(PointData, CustomData):
    """When the points come from your own code."""


class Turn(Change):
    """Turn the point around the origin."""

    name: Literal["turn"] = "turn"
    draws = 1

    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        angle = (2 * torch.pi * uniform[:, 0]).to(examples.device)
        x, y = examples.unbind(1)
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([cos * x - sin * y, sin * x + cos * y], 1)


@dataclass(frozen=True)
class Shrink:
    constants: ClassVar[Mapping[str, tuple[float, ...]]] = {"divisor": (3.0,)}

    def spec_of(self, spec: ExampleSpec) -> ExampleSpec:
        return replace(spec, dtype="float32")

    def __call__(self, examples: Tensor) -> Tensor:
        return examples / 3


class Layers(nn.Module):
    """The only one."""

    class Config(EncoderConfig):
        name: Literal["layers"] = "layers"

    def __init__(self, config: Config, spec: ExampleSpec) -> None:
        super().__init__()
        self.features = 16
        self.layers = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, points: Tensor) -> Tensor:
        features: Tensor = self.layers(points)
        return features


class Wide(nn.Module):
    """An encoder of a user's own, by its dotted path."""

    def __init__(self) -> None:
        super().__init__()
        self.features = 24
        self.layer = nn.Linear(2, 24)

    def forward(self, points: Tensor) -> Tensor:
        features: Tensor = self.layer(points)
        return features


ENCODERS = encoder_registry("point", Layers)


class PointModel(ModelConfig):
    encoder: Annotated[EncoderConfig, ENCODERS.choice] = Layers.Config()


class PointModality(Modality):
    """Points of a plane."""

    name = "point"
    noun = ("point", "points")
    dtype = torch.float32
    dimensions = 1
    data = (Rings,)
    own_data = OwnPoints
    model = PointModel
    encoders = ENCODERS
    steps = (Turn,)
    policies: ClassVar = {"turned": NamedPolicy("The only one.", (Turn(),))}
    weak_policy = "turned"

    def check(self, dataset: Dataset, where: str) -> None:
        if len(dataset.examples.shape) != 2:
            raise ValueError(f"{where} points are {list(dataset.examples.shape)}: make them [N, 2]")

    def preparation(self, config: DataConfig) -> Shrink:
        return Shrink()

    def views(self, steps: Sequence[Step], config: DataConfig) -> Recipe:
        prepare = Shrink()
        return Recipe([s for s in steps if isinstance(s, Change)], prepare, prepare.spec_of)


POINTS = PointModality()
