"""What a measure works on, and what it gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fedssl.base.seeding import generator
from fedssl.data.dataset import Dataset
from fedssl.evaluation.features import extract, extract_views
from fedssl.modalities import Preparation
from fedssl.networks.encoder import device_of

View = Callable[[Tensor, torch.Generator], Tensor]
"""Makes a random view, float32 [B, …], of each of B stored examples."""


class NotFiniteError(ValueError):
    """An encoder's features are infinite or NaN."""


class ProbeSettings(Protocol):
    """What measures need of the ``evaluation`` section; see there."""

    @property
    def l2(self) -> float:
        """Strength of the linear probe's penalty."""

    @property
    def knn_k(self) -> int:
        """Neighbours that vote."""

    @property
    def knn_temperature(self) -> float:
        """Of their votes."""

    @property
    def recalibrate_bn(self) -> bool:
        """Whether BatchNorm's statistics are measured anew, too."""


@dataclass(frozen=True)
class Gathered:
    """The examples that the central evaluation works on, in memory."""

    train: Dataset
    """Labelled training examples, which the probes are fitted on; empty where there are none."""
    test: Dataset
    """What the probes are scored on."""
    rows: np.ndarray
    """int64 [N]: where the examples of ``train`` are among all training examples, ascending."""
    recalibration: Tensor
    """Training examples, labelled or not, that BatchNorm statistics are measured on: [M, …] as
    stored, empty unless ``recalibrate_bn`` is set."""


@dataclass(frozen=True)
class Measured:
    """What a measure gives."""

    figures: Mapping[str, float]
    """Numbers by name; where a round is measured they go into its row."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What is behind them, as JSON has it: what a picture is drawn from."""
    predictions: Tensor | None = field(default=None, compare=False)
    """The class that the linear probe took each test example for, int64 [M]; None of others."""


@dataclass(frozen=True)
class Subject:
    """A frozen encoder with the examples, and all else that measures look at.

    Features are extracted once, for all measures that want them. All draws derive from the seed
    and the measure's name, never from the round: rounds and runs are measured on the same views.
    """

    encoder: nn.Module
    """Maps prepared examples [B, …] to features [B, D]; a measure leaves it as it is."""
    examples: Gathered
    """Labelled training examples, and test examples, after ``evaluation.limit``."""
    config: ProbeSettings
    """The ``evaluation`` section."""
    preparation: Preparation
    """Turns stored examples into what the encoder takes."""
    seed: int
    """The experiment's."""
    view: View
    """The experiment's own views, which the encoder was trained on."""
    weak_view: View
    """Views that alter examples little."""
    train: Dataset
    """All training examples, labelled or not."""
    owner: np.ndarray | None = None
    """int64 [N]: each training example's client, −1 where none has it; None where it is unknown."""
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
        """Those of the labelled training examples, float32 [N, D]."""
        return self._features(self.examples.train)

    @cached_property
    def test_features(self) -> Tensor:
        """Those of the test examples, float32 [M, D]."""
        return self._features(self.examples.test)

    @property
    def train_labels(self) -> Tensor:
        """int64 [N], on the encoder's device."""
        return self.examples.train.labels.to(self.device)

    @property
    def test_labels(self) -> Tensor:
        """int64 [M], on the encoder's device; −1 where an example has none."""
        return self.examples.test.labels.to(self.device)

    @property
    def is_labelled(self) -> bool:
        """Whether training and test examples have labels."""
        return len(self.examples.train) > 0 and bool((self.examples.test.labels >= 0).any())

    @property
    def device(self) -> torch.device:
        """The encoder's."""
        return device_of(self.encoder)

    @property
    def clients(self) -> np.ndarray | None:
        """int64 [N]: the client of each labelled training example; see ``owner``."""
        return None if self.owner is None else self.owner[self.examples.rows]

    def draws(self, purpose: str) -> torch.Generator:
        """Return the generator of what a measure draws, on the CPU."""
        return generator(self.seed, f"measure {purpose}")

    def views_of(
        self, examples: Tensor, purpose: str, number: int = 0, encoder: nn.Module | None = None
    ) -> Tensor:
        """Return the features of one view of each example; each ``number`` is another view.

        Parameters
        ----------
        examples : Tensor
            [N, …] as stored.
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
            examples,
            self.view,
            lambda start: generator(self.seed, f"measure {purpose}", number, start),
        )

    def need_labels(self) -> None:
        """Raise a ValueError where training or test examples have no labels."""
        if not self.is_labelled:
            raise ValueError("needs labels of training and test examples, and there are none")

    def _features(self, dataset: Dataset) -> Tensor:
        features = extract(self.encoder, dataset.fetch(), self.preparation)
        if not features.isfinite().all():
            raise NotFiniteError(
                "the encoder's features are not all finite: has the training diverged?"
            )
        return features
