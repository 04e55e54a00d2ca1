"""What every objective is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from fedssl.fields import Fields


@dataclass(frozen=True)
class Batch:
    """What one local step sees."""

    views: list[Tensor]
    """float32 [B, C, H, W] each, normalised: the views of the same B images."""
    index: Tensor
    """int64 [B]: the images' places among the client's own."""
    labels: Tensor | None = None
    """int64 [B], -1 where unlabelled; None where the client has none."""


class ObjectiveConfig(Fields):
    """The ``objective`` section."""

    name: str
    """Which objective: a name that `fedssl list` prints, or a dotted path."""


class Objective(nn.Module, ABC):
    """A loss, with the encoder and every head that it trains.

    Its modules ``encoder`` and ``projector``, and all else that is not named in ``private``, are
    federated: they come from the server and go back to it. What ``private`` names stays on the
    client, which keeps it from one of its rounds to the next.

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
    number_of_views: ClassVar[int] = 2
    minimum_batch: ClassVar[int] = 2
    """The fewest images a step makes sense with; smaller last batches are dropped."""
    private: ClassVar[tuple[str, ...]] = ()
    """The names of the submodules or tensors that never leave the client."""

    encoder: nn.Module
    projector: nn.Module

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__()

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar.

        Under ``client.precision: bf16`` it is called within `torch.autocast`: `in_float32` keeps a
        loss that wants more digits out of it.
        """

    def start(self) -> None:
        """Set the private state anew: called when a client takes part for the first time."""

    def chance_loss(self, batch: int) -> float:
        """Return the loss on so many images of an encoder that tells nothing apart.

        Losses of different batch sizes are compared by how far below it they are. 0 where it does
        not depend on the batch.
        """
        return 0.0

    def after_step(self, progress: float) -> None:
        """Act after an optimiser step; ``progress`` in [0, 1] is the share of all rounds done."""
