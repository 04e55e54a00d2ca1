"""A tiny experiment in which plug-ins are tried: random examples, and a client that trains."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fedssl.base.config_file import validate
from fedssl.config import LearningConfig
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities import MODALITIES
from fedssl.model_state import State, clone, federated_state
from fedssl.models.blueprint import ModelBlueprint
from fedssl.testing.shared import rng
from fedssl.training.instructions import Instructions
from fedssl.training.local_update import LocalTrainer, LocalUpdate

CLASSES = 3
ROUNDS = 8
EXAMPLES = 12


@dataclass(frozen=True)
class Setting:
    """Examples of a modality, and an encoder for them: as small as they can be."""

    modality: str
    data: str
    shape: tuple[int, ...]
    encoder: Mapping[str, object]

    @property
    def spec(self) -> ExampleSpec:
        """What examples are, as they are stored."""
        return ExampleSpec.of(self.modality, self.shape, MODALITIES[self.modality].dtype)

    def config(self, **sections: object) -> LearningConfig:
        """Return a config; a section that is given replaces that of the setting."""
        values: dict[str, Any] = {
            "data": {"name": self.data},
            "partition": {"name": "iid", "clients": 2},
            "model": {"encoder": dict(self.encoder), "projector": [16, 8]},
            "objective": {"name": "simclr"},
            "rounds": ROUNDS,
            **sections,
        }
        values["client"] = {"batch_size": 6, "lr": 0.02, **values.get("client", {})}
        return validate(LearningConfig, values, base=Path(), source="the conformance kit")

    def blueprint(self, **sections: object) -> ModelBlueprint:
        """Return the blueprint of a model; see `config`."""
        return ModelBlueprint(self.config(**sections), self.spec)

    def examples(self, count: int = EXAMPLES, seed: int = 0) -> Tensor:
        """Draw examples as they are stored, those of a class a little alike: see `labels`."""
        dtype, shape = MODALITIES[self.modality].dtype, (count, *self.shape)
        shift = labels(count).view(-1, *[1] * len(self.shape))
        if dtype.is_floating_point:
            return (torch.randn(shape, generator=rng(seed)) + shift).to(dtype)
        return (torch.randint(0, 156, shape, generator=rng(seed)) + 45 * shift).to(dtype)


SETTINGS = (
    Setting("image", "glyphs", (3, 16, 16), {"name": "convnet", "width": 4}),
    Setting("series", "waves", (2, 32), {"name": "patch-transformer"}),
)
"""Tried in turn: some plug-ins need an encoder that can be shown a part of its examples."""
IMAGES = SETTINGS[0]


def labels(count: int) -> Tensor:
    """Return the classes of examples, int64 [count]."""
    return torch.arange(count) % CLASSES


class Clients:
    """Clients that train for a round each, one after the other.

    Parameters
    ----------
    setting : Setting
        What they train on.
    blueprint : ModelBlueprint
        What they train.
    """

    def __init__(self, setting: Setting, blueprint: ModelBlueprint, count: int = EXAMPLES):
        self.setting = setting
        self.blueprint = blueprint
        self.count = count
        self.worker = LocalTrainer(blueprint, torch.device("cpu"), threading.Event())

    @cached_property
    def initial(self) -> State:
        """The model that the seed makes."""
        return clone(federated_state(self.blueprint.build()))

    def train(
        self,
        received: Mapping[str, Tensor],
        private: Mapping[str, Tensor],
        *,
        client: int = 0,
        round: int = 1,
        instructions: Instructions | None = None,
        extra: Mapping[str, Tensor] | None = None,
        count: int | None = None,
    ) -> LocalUpdate:
        """Return a client's update, which shares memory with nothing."""
        number = count or self.count
        update = self.worker.run(
            self.setting.examples(number, client),
            labels(number),
            received,
            private,
            client=client,
            server_round=round,
            instructions=instructions or Instructions(),
            extra=extra,
        )
        return LocalUpdate(
            state=clone(update.state),
            private_state=clone(update.private_state),
            example_count=update.example_count,
            stats=update.stats,
            seconds=update.seconds,
            metrics=update.metrics,
            extra=clone(update.extra),
        )


def fitting(settings: tuple[Setting, ...], **sections: object) -> Iterator[Setting]:
    """Yield the settings in which a model of these sections can be built, the simplest first.

    Raises
    ------
    ValueError
        There is none; the message is that of the first.
    """
    refusals = []
    for setting in settings:
        try:
            setting.blueprint(**sections).build()
        except ValueError as error:
            refusals.append(error)
        else:
            yield setting
    if len(refusals) == len(settings):
        raise refusals[0]
