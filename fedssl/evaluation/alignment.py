"""Alignment and uniformity: views of an example close together, examples spread over the sphere."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.metrics import MetricDescription
from fedssl.evaluation.parallel import map_chunks
from fedssl.evaluation.subject import MeasureResult, Subject

CHUNK = 512
"""Features that are compared with all others at a time."""


def alignment(first: Tensor, second: Tensor) -> float:
    """Return E‖x − y‖², the mean squared distance of the unit features of two views of an example.

    Parameters
    ----------
    first, second : Tensor
        float [N, D], N ≥ 1, of any norm.

    Returns
    -------
    float
        In [0, 4]; 0 where views are told apart by nothing, 2 where they are orthogonal.

    Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment
    and Uniformity on the Hypersphere", ICML 2020, equation 7, with α = 2.

    Examples
    --------
    >>> alignment(torch.eye(2), torch.eye(2).flip(0))
    2.0
    """
    x, y = F.normalize(first.double()), F.normalize(second.double())
    return (x - y).square().sum(1).mean().item()


def uniformity(features: Tensor) -> float:
    """Return log E e^{−2‖x − y‖²} over all pairs of different examples.

    Parameters
    ----------
    features : Tensor
        float [N, D], N ≥ 2, of any norm.

    Returns
    -------
    float
        In [−8, 0]: 0 where all features are one; −4 where all are orthogonal.

    Source: equation 8 of the same, with t = 2.
    """
    unit = F.normalize(features)
    count = len(unit)

    def work(rows: slice) -> Tensor:
        near = torch.exp(4 * (unit[rows] @ unit.T) - 4)
        near.diagonal(rows.start).zero_()
        return near.sum(1, dtype=torch.float64)

    total = map_chunks(work, count, CHUNK, unit.device).sum().item()
    return math.log(total / (count * (count - 1)))


class Alignment(Measure):
    """No labels: alignment and uniformity, which contrastive losses trade."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: alignment and uniformity."""

        name: Literal["alignment"] = "alignment"
        """The name of this measure."""

    labels = False
    reports: ClassVar = {
        name: MetricDescription(better="lower") for name in ("alignment", "uniformity")
    }

    def measure(self, subject: Subject) -> MeasureResult:
        """Measure two views of each test example, with the run's own views; no labels are needed.

        Lower is better, of both. Uniformity is the mean of both views'.
        """
        examples = subject.examples.test.fetch()
        first, second = (subject.views_of(examples, "alignment", number) for number in range(2))
        return MeasureResult(
            {
                "alignment": alignment(first, second),
                "uniformity": (uniformity(first) + uniformity(second)) / 2,
            }
        )
