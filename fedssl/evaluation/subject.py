"""The input and the result of a measure."""

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
    """The fields of the ``evaluation`` section that measures read."""

    @property
    def l2(self) -> float:
        """Strength of the linear probe's penalty."""

    @property
    def knn_k(self) -> int:
        """Neighbours that vote."""

    @property
    def knn_temperature(self) -> float:
        """The temperature of the neighbours' votes."""

    @property
    def recalibrate_bn(self) -> bool:
        """Whether BatchNorm's statistics are also re-estimated."""


@dataclass(frozen=True)
class EvaluationExamples:
    """The examples that the central evaluation works on, in memory.

    Examples
    --------
    >>> dataset = Dataset(torch.zeros(3, 1), torch.tensor([0, 1, -1]), ("cat", "dog"))
    >>> labelled = np.array([0, 1])
    >>> examples = EvaluationExamples(dataset.take(labelled), dataset, labelled, torch.empty(0, 1))
    >>> examples.train.labels
    tensor([0, 1])
    """

    train: Dataset
    """Labelled training examples, which the probes are fitted on; may be empty."""
    test: Dataset
    """The examples that the probes are scored on."""
    rows: np.ndarray
    """int64 [N]: where the examples of ``train`` are among all training examples, ascending."""
    recalibration: Tensor
    """Training examples, labelled or not, that BatchNorm statistics are estimated on: [M, …] as
    stored, empty unless ``recalibrate_bn`` is set."""


@dataclass(frozen=True)
class MeasureResult:
    """The result of a measure.

    Examples
    --------
    >>> result = MeasureResult({"accuracy": 0.75}, details={"by_class": [0.5, 1.0]})
    >>> result.figures["accuracy"]
    0.75
    """

    figures: Mapping[str, float]
    """Numbers by name; those of a round's measures go into its row of ``metrics.jsonl``."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The data behind the numbers, JSON values: plots are drawn from it."""
    predictions: Tensor | None = field(default=None, compare=False)
    """The linear probe's class for each test example, int64 [M]; None for other measures."""


@dataclass(frozen=True)
class Subject:
    """A frozen encoder with the examples and everything else that measures use.

    Features are extracted once, for all measures. All random numbers derive from the seed and the
    measure's name, never from the round: rounds and runs are measured on the same views.

    Examples
    --------
    What a measure does with it::

        def measure(self, subject):
            subject.need_labels()
            first = subject.views_of(subject.examples.test.fetch(), "steady")
            moved = (first - subject.test_features).norm(dim=1)
            return MeasureResult({"moved": float(moved.mean())})
    """

    encoder: nn.Module
    """Maps prepared examples [B, …] to features [B, D]; a measure must not change it."""
    examples: EvaluationExamples
    """Labelled training examples, and test examples, after ``evaluation.limit``."""
    config: ProbeSettings
    """The ``evaluation`` section."""
    preparation: Preparation
    """Turns stored examples into what the encoder takes."""
    seed: int
    """The experiment's seed."""
    view: View
    """Makes views by the experiment's policy, on which the encoder was trained."""
    weak_view: View
    """Makes views that change examples little."""
    train: Dataset
    """All training examples, labelled or not."""
    owner: np.ndarray | None = None
    """int64 [N]: each training example's client, −1 if none has it; None if unknown."""
    client_names: Sequence[str] = ()
    """The names of the clients; empty if they have only numbers."""
    after_update: Callable[[int], nn.Module] | None = None
    """Returns a client's encoder after one local update of this model; None if impossible."""
    rounds: Sequence[Mapping[str, Any]] = ()
    """The run's rows of ``metrics.jsonl``."""
    others: Mapping[str, "Subject"] = field(default_factory=dict)
    """Other runs to compare with, by name."""
    on_progress: Callable[[str], None] = lambda _: None
    """Called with a line of progress of a long measure."""

    @cached_property
    def train_features(self) -> Tensor:
        """The features of the labelled training examples, float32 [N, D]."""
        return self._features(self.examples.train)

    @cached_property
    def test_features(self) -> Tensor:
        """The features of the test examples, float32 [M, D]."""
        return self._features(self.examples.test)

    @property
    def train_labels(self) -> Tensor:
        """int64 [N], on the encoder's device."""
        return self.examples.train.labels.to(self.device)

    @property
    def test_labels(self) -> Tensor:
        """int64 [M], on the encoder's device; −1 if an example has none."""
        return self.examples.test.labels.to(self.device)

    @property
    def is_labelled(self) -> bool:
        """Whether training and test examples have labels."""
        return len(self.examples.train) > 0 and bool((self.examples.test.labels >= 0).any())

    @property
    def device(self) -> torch.device:
        """The encoder's device."""
        return device_of(self.encoder)

    @property
    def clients(self) -> np.ndarray | None:
        """int64 [N]: the client of each labelled training example; see ``owner``."""
        return None if self.owner is None else self.owner[self.examples.rows]

    def generator(self, purpose: str) -> torch.Generator:
        """Return the random generator of a measure for one purpose, on the CPU."""
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
            The measure's name; random numbers depend on it.
        number : int
            The number of the view, from 0.
        encoder : nn.Module | None
            Another encoder; None for the subject's.

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
