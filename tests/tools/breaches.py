"""Plug-ins that break one thing each."""

from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from fedssl.client_rules import ClientRule, ClientRuleConfig, LocalStep, ReportedMetric, Update
from fedssl.data import Dataset, Splits
from fedssl.data.example_spec import ExampleSpec
from fedssl.evaluation import Measure, MeasureConfig, MeasureResult, Subject
from fedssl.model_state import State
from fedssl.networks.encoder import EncoderConfig
from fedssl.objectives import Batch, ObjectiveConfig
from fedssl.objectives.simclr import SimCLR
from fedssl.objectives.term import Term, TermConfig
from fedssl.partitions.iid import Iid

COUNTER = iter(range(10**9))
"""Differs at each look, as the time of day does."""


# Objectives


class Drawing(SimCLR):
    """Draws from what is everybody's."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) + 1e-3 * torch.rand(())


class NumpyDrawing(SimCLR):
    """Draws from what is everybody's, in numpy."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) + 1e-9 * np.random.rand()  # noqa: NPY002


class Writing(SimCLR):
    """Writes to its views."""

    def forward(self, batch: Batch) -> Tensor:
        batch.views[0].mul_(0.5)
        return super().forward(batch)


class Detached(SimCLR):
    """Learns a projector alone."""

    def forward(self, batch: Batch) -> Tensor:
        z = self.projector(self.encoder(torch.cat(batch.views)).detach())
        return cast(Tensor, z.square().mean())


class Vector(SimCLR):
    """Returns a loss for each example."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch).expand(2)


class Lonely(SimCLR):
    """Says that it can do with less than it can."""

    minimum_batch = 1

    def forward(self, batch: Batch) -> Tensor:
        loss = super().forward(batch)
        return loss / (len(batch.index) - 1)


class Misnamed(SimCLR):
    """Keeps something for itself that there is not."""

    private: ClassVar[tuple[str, ...]] = ("target",)


class Selfish(SimCLR):
    """Keeps its encoder for itself."""

    private: ClassVar[tuple[str, ...]] = ("encoder",)


class Remembering(SimCLR):
    """Keeps what no state_dict has."""

    steps = 0

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) * (1 + self.steps)

    def after_step(self, progress: float) -> None:
        self.steps += 1


class Peeking(SimCLR):
    """Looks at labels, without a word of it."""

    def forward(self, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return super().forward(batch) * (2 + batch.labels.float().amax())


class Coarse(SimCLR):
    """Computes its loss in bfloat16."""

    def forward(self, batch: Batch) -> Tensor:
        z = self.projector(self.encoder(torch.cat(batch.views)))
        return cast(Tensor, (z @ z.T).sum() * 1e-3)


class Endless(SimCLR):
    """Has no finite loss of chance."""

    def chance_loss(self, batch: int) -> float:
        return float("inf")


class Seedless(SimCLR):
    """Begins otherwise each time."""

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.register_buffer("odd", torch.tensor(float(next(COUNTER))))


class Undescribed(SimCLR):
    """Has a field that nobody explains."""

    class Config(SimCLR.Config):
        odd: int = 1


class Incomplete(SimCLR):
    """Has a field that must be given."""

    class Config(SimCLR.Config):
        """A section."""

        odd: int
        """An odd number."""


class TooLong(SimCLR):
    """Tells so much in its first line that no list of plug-ins could ever show all of it in one row of a table."""  # noqa: E501


# Terms


class Size(Term):
    """Keeps projections small."""

    class Config(TermConfig):
        """The term's section."""

        name: str = "size"
        """The term."""

    def forward(self, encoder: nn.Module, projections: Tensor, batch: Batch) -> Tensor:
        return 0.1 * projections.square().mean()


class WritingSize(Size):
    """Writes to projections."""

    def forward(self, encoder: nn.Module, projections: Tensor, batch: Batch) -> Tensor:
        added = super().forward(encoder, projections, batch)
        projections.data.mul_(2)
        return added


class Idle(Size):
    """Adds what no weight depends on."""

    def forward(self, encoder: nn.Module, projections: Tensor, batch: Batch) -> Tensor:
        return super().forward(encoder, projections.detach(), batch) + 0 * projections.sum()


class Vain(Size):
    """Has a head that it does not use."""

    def __init__(self, *given: object):
        super().__init__(*given)  # type: ignore[arg-type]
        self.head = nn.Linear(2, 2)


# Encoders


class Flat(nn.Module):
    """A layer."""

    class Config(EncoderConfig):
        """The section of the layer."""

        name: str = "flat"
        """The layer."""

    features: int

    def __init__(self, config: Config, spec: ExampleSpec):
        super().__init__()
        self.features = 8
        self.layer = nn.Linear(3, 8)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.layer(images.mean((2, 3))))


class Together(Flat):
    """Looks at all of a batch."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images - images.mean(0))


class Dropping(Flat):
    """Drops features at random."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(images), 0.5, self.training)


class Hidden(Flat):
    """Depends on what no state_dict has."""

    def __init__(self, config: Flat.Config, spec: ExampleSpec):
        super().__init__(config, spec)
        self.scale = torch.rand(())

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale


class Moving(Flat):
    """Changes when it is only looked at."""

    def __init__(self, config: Flat.Config, spec: ExampleSpec):
        super().__init__(config, spec)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        assert isinstance(self.seen, Tensor)
        self.seen += 1
        return super().forward(images)


# Client rules


class Rule(ClientRule):
    """Does nothing."""

    class Config(ClientRuleConfig):
        """The rule's section."""

        name: str = "rule"
        """The rule."""


class Leaking(Rule):
    """Sends what it does not declare."""

    def tensors(self, update: Update) -> State:
        return {"secret": torch.zeros(2)}


class Boasting(Rule):
    """Reports more than it says that it may."""

    def metrics(self, update: Update) -> dict[str, float | list[float]]:
        return {"size": 2.0}

    def declared_metrics(self, model: object, roles: object) -> dict[str, ReportedMetric]:
        return {"size": ReportedMetric(0.0, 1.0)}


class Moody(Rule):
    """Is another one at each look."""

    def term(self, step: LocalStep) -> Tensor | None:
        weights = [w.sum() for w in step.weights.values()]
        return 1e-3 * next(COUNTER) * torch.stack(weights).sum()


class Gambling(Rule):
    """Draws from what is everybody's."""

    def term(self, step: LocalStep) -> Tensor | None:
        return torch.rand(()) * torch.stack([w.sum() for w in step.weights.values()]).sum()


class Meddling(Rule):
    """Says that it only measures, and does not."""

    metrics_only = True

    def term(self, step: LocalStep) -> Tensor | None:
        return torch.stack([w.square().sum() for w in step.weights.values()]).sum()


class Unready(Rule):
    """Remembers what it only has where it was at work."""

    seen: Tensor

    def after_step(self, step: LocalStep) -> None:
        self.seen = torch.ones(())

    def remember(self, update: Update) -> State:
        return {"seen": self.seen}


# Measures


class Figure(Measure):
    """One figure."""

    class Config(MeasureConfig):
        """The measure's section."""

        name: str = "figure"
        """The measure."""

    labels = False

    def measure(self, subject: Subject) -> MeasureResult:
        return MeasureResult({"figure": subject.test_features.mean().item()})


class Changing(Figure):
    """Gives another figure each time."""

    def measure(self, subject: Subject) -> MeasureResult:
        return MeasureResult({"figure": float(next(COUNTER))})


class Spoiling(Figure):
    """Writes to the encoder."""

    def measure(self, subject: Subject) -> MeasureResult:
        with torch.no_grad():
            next(subject.encoder.parameters()).mul_(2)
        return MeasureResult({"figure": 1.0})


class Undefined(Figure):
    """Gives what is no number."""

    def measure(self, subject: Subject) -> MeasureResult:
        return MeasureResult({"figure": float("nan")})


class Taken(Figure):
    """Calls its figure as every round calls one."""

    def measure(self, subject: Subject) -> MeasureResult:
        return MeasureResult({"seconds": 1.0})


class Claiming(Figure):
    """Says that it needs labels, and does not."""

    labels = True


class Denying(Figure):
    """Says that it needs no labels, and does."""

    def measure(self, subject: Subject) -> MeasureResult:
        subject.need_labels()
        return MeasureResult({"figure": 1.0})


class Verbose(Figure):
    """Has details that are no JSON."""

    def measure(self, subject: Subject) -> MeasureResult:
        return MeasureResult({"figure": 1.0}, {"features": subject.test_features})


# Partitions


class Deal(Iid):
    """Deals out."""

    name: str = "deal"  # type: ignore[assignment]
    """The partition."""


class Floating(Deal):
    """Gives numbers that count nothing."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        return super().assign(dataset, random).astype(np.float64)


class Far(Deal):
    """Gives clients that there are not."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        return super().assign(dataset, random) + 1


class Whimsical(Deal):
    """Deals otherwise each time."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        return (np.arange(len(dataset)) + next(COUNTER)) % self.clients


class Nameless(Deal):
    """Names one client of all."""

    def client_names(self, dataset: Dataset, owner: np.ndarray) -> tuple[str, ...]:
        return ("one",)


class Labelled(Deal):
    """Goes by labels, without a word of it."""

    def assign(self, dataset: Dataset, random: np.random.Generator) -> np.ndarray:
        if bool((dataset.labels < 0).any()):
            raise ValueError("partition: needs labels")
        return super().assign(dataset, random)


# Data sets


class _Late:
    """Examples on demand that are others at each look."""

    shape = (12, 3, 8, 8)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return torch.full((len(rows), 3, 8, 8), next(COUNTER) % 256, dtype=torch.uint8)


def _images(seed: int = 0, **changes: object) -> Dataset:
    draws = torch.Generator().manual_seed(seed)
    given: dict[str, object] = {
        "examples": torch.randint(0, 256, (12, 3, 8, 8), generator=draws, dtype=torch.uint8),
        "labels": torch.arange(12) % 2,
        "class_names": ("a", "b"),
        **changes,
    }
    return Dataset(**given)  # type: ignore[arg-type]


def good_images() -> Splits:
    return Splits(_images(0), _images(1))


def other_labels() -> Splits:
    return Splits(_images(labels=torch.arange(12)), _images(1))


def twice_named() -> Splits:
    return Splits(_images(class_names=("a", "a")), _images(1))


def late_images() -> Splits:
    return Splits(_images(examples=_Late()), _images(1))


def new_images() -> Splits:
    return Splits(_images(next(COUNTER)), _images(1))


def odd_field() -> Splits:
    return Splits(_images(fields={"who": np.zeros(12)}), _images(1))
