"""What every objective is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fedssl.fields import Fields
from fedssl.objectives.batch import Batch


class ObjectiveConfig(Fields):
    """The ``objective`` section."""

    name: str
    """Which objective: a name that `fedssl list` prints, or a dotted path."""


class KeepingConfig(ObjectiveConfig):
    """The section of an objective whose private state grows stale while its client is away."""

    on_return: Literal["keep", "resync"] = "keep"
    """A client that missed a round or more goes on with what it kept, or starts it anew."""


class Objective(nn.Module, ABC):
    """A loss, with the encoder and every head that it trains.

    Its modules ``encoder`` and ``projector``, and all else that is not named in ``private``, are
    federated: they come from the server and go back to it. What ``private`` names stays on the
    client, which keeps it from one of its rounds to the next, however many it misses in between.

    Parameters
    ----------
    encoder : nn.Module
        Maps images [B, C, H, W] to features [B, ``encoder.features``].
    projector : Sequence[int]
        The widths of the projector's layers; empty for none.
    config : ObjectiveConfig
        An instance of this class's ``Config``.
    """

    Config: ClassVar[type[ObjectiveConfig]]
    number_of_views: int = 2
    """How many views of each image a batch has."""
    minimum_batch: int = 2
    """The fewest images a step makes sense with; smaller last batches are dropped."""
    private: ClassVar[tuple[str, ...]] = ()
    """The names of the submodules or tensors that never leave the client."""
    on_return: Literal["keep", "resync"] = "keep"
    """What a client does with its private state after rounds that it missed; by `KeepingConfig`."""

    encoder: nn.Module
    projector: nn.Module

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__()
        if isinstance(config, KeepingConfig):
            self.on_return = config.on_return

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar.

        Under ``client.precision: bf16`` it is called within `torch.autocast`: `in_float32` keeps a
        loss that wants more digits out of it.
        """

    def check(self, labels: Tensor) -> None:
        """Raise a ValueError where images with these labels, int64 [N], cannot be trained on."""

    def resize(self, images: int) -> None:
        """Give private tensors the shape that a client with so many images needs.

        Called before a client's private state is taken up; a kept state of another shape is then
        refused.
        """

    def start(self, draws: torch.Generator) -> None:
        """Set the private state anew, drawing from ``draws``, on the CPU.

        Called when a client takes part for the first time, or again where ``on_return`` is
        "resync"; the federated tensors are those of the global model by then.
        """

    def after_step(self, progress: float) -> None:
        """Act after an optimiser step; ``progress`` in [0, 1] is the share of all rounds done."""
