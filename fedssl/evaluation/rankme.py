"""RankMe: how many dimensions the features really use."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.metrics import MetricDescription
from fedssl.evaluation.subject import MeasureResult, Subject


def rankme(features: Tensor) -> float:
    """Return the exponential of the entropy of the normalised singular values.

    With p = σ/‖σ‖₁ of the features as they are (not centred), exp(−Σ p·log p): from 1 to
    min(N, D). It depends on N, so compare only values of equal N, and only runs of one method.

    Parameters
    ----------
    features : Tensor
        float [N, D]. All zero features give 0.

    Source: Garrido et al., "RankMe: Assessing the Downstream Performance of Pretrained
    Self-Supervised Representations by Their Rank", ICML 2023, equations 1 and 2.

    Examples
    --------
    >>> round(rankme(torch.eye(3)), 4)
    3.0
    >>> round(rankme(torch.ones(3, 3)), 4)
    1.0
    """
    sigma = torch.linalg.svdvals(features.double())
    total = sigma.sum()
    if total == 0:
        return 0.0
    return math.exp(torch.special.entr(sigma / total).sum().item())


class RankMe(Measure):
    """No labels: how many dimensions the features use."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: RankMe."""

        name: Literal["rankme"] = "rankme"
        """The name of this measure."""

    labels = False
    reports: ClassVar = {"rankme": MetricDescription(better="higher", untrained=True)}

    def measure(self, subject: Subject) -> MeasureResult:
        """Take RankMe of the test examples' features, those of the encoder; see `rankme`."""
        features = subject.test_features
        return MeasureResult({"rankme": rankme(features)}, {"examples": len(features)})
