"""What a measure works on, and what it gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fedssl.data.dataset import Dataset
from fedssl.encoders import device_of
from fedssl.evaluation.features import extract, extract_views
from fedssl.seeding import generator

if TYPE_CHECKING:
    from fedssl.evaluation.config import EvaluationConfig
    from fedssl.evaluation.evaluate import Gathered

View = Callable[[Tensor, torch.Generator], Tensor]
"""Makes a random view, float32 [B, 3, H, W] and normalised, of each of B images, uint8."""


@dataclass(frozen=True)
class Measured:
    """What a measure gives."""

    figures: Mapping[str, float]
    """Numbers by name; where a round is measured they go into its row."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What is behind them, as JSON has it: what a picture is drawn from."""


@dataclass(frozen=True)
class Subject:
    """A frozen encoder with the images, and all else that measures look at.

    Features are extracted once, for all measures that want them. All draws derive from the seed
    and the measure's name, never from the round: rounds and runs are measured on the same views.
    """

    encoder: nn.Module
    """Maps images [B, 3, H, W] to features [B, D]; a measure leaves it as it is."""
    images: "Gathered"
    """Labelled training images, and test images, after ``evaluation.limit``."""
    config: "EvaluationConfig"
    """The ``evaluation`` section."""
    mean: Sequence[float]
    std: Sequence[float]
    """Each channel's constants for images in [0, 1]."""
    seed: int
    """The experiment's."""
    view: View
    """The experiment's own views, which the encoder was trained on."""
    train: Dataset
    """All training images, labelled or not."""
    owner: np.ndarray | None = None
    """int64 [N]: each training image's client, −1 where none has it; None where it is unknown."""
    client_names: Sequence[str] = ()
    """What the clients are called; empty where a number says it all."""
    after_update: Callable[[int], nn.Module] | None = None
    """Makes a client's encoder, after one local update of this model; None where it cannot be."""
    rounds: Sequence[Mapping[str, Any]] = ()
    """The run's rows of ``metrics.jsonl``."""
    others: Mapping[str, "Subject"] = field(default_factory=dict)
    """Other runs to compare with, by name."""
    said: Callable[[str], None] = lambda _: None
    """Told how far a long measure is."""

    @cached_property
    def train_features(self) -> Tensor:
        """Those of the labelled training images, float32 [N, D]."""
        return self._features(self.images.train)

    @cached_property
    def test_features(self) -> Tensor:
        """Those of the test images, float32 [M, D]."""
        return self._features(self.images.test)

    @property
    def train_labels(self) -> Tensor:
        """int64 [N], on the encoder's device."""
        return self.images.train.labels.to(self.device)

    @property
    def test_labels(self) -> Tensor:
        """int64 [M], on the encoder's device; −1 where an image has none."""
        return self.images.test.labels.to(self.device)

    @property
    def device(self) -> torch.device:
        """The encoder's."""
        return device_of(self.encoder)

    @property
    def clients(self) -> np.ndarray | None:
        """int64 [N]: the client of each labelled training image; see ``owner``."""
        return None if self.owner is None else self.owner[self.images.rows]

    def draws(self, purpose: str) -> torch.Generator:
        """Return the generator of what a measure draws, on the CPU."""
        return generator(self.seed, f"measure {purpose}")

    def views_of(
        self, images: Tensor, purpose: str, number: int = 0, encoder: nn.Module | None = None
    ) -> Tensor:
        """Return the features of one view of each image; each ``number`` is another view.

        Parameters
        ----------
        images : Tensor
            uint8 [N, 3, H, W].
        purpose : str
            The measure that asks.
        number : int
            From 0.
        encoder : nn.Module | None
            None for the subject's.

        Returns
        -------
        Tensor
            float32 [N, D].
        """
        return extract_views(
            encoder or self.encoder,
            images,
            self.view,
            lambda start: generator(self.seed, f"measure {purpose}", number, start),
        )

    def need_labels(self) -> None:
        """Raise a ValueError where training or test images have no labels."""
        if len(self.images.train) == 0 or not bool((self.images.test.labels >= 0).any()):
            raise ValueError("needs labels of training and test images, and there are none")

    def _features(self, dataset: Dataset) -> Tensor:
        features = extract(self.encoder, dataset.fetch(), self.mean, self.std)
        if not features.isfinite().all():
            raise ValueError(
                "the encoder's features are not all finite: has the training diverged?"
            )
        return features
