"""E2MC: spread each feature evenly and keep features apart, to improve a trained encoder."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.modalities.base import Modality
from fedssl.objectives.batch import Batch
from fedssl.objectives.covariance import off_diagonal_covariance
from fedssl.objectives.term import Term, TermConfig

CDF = Literal["normal", "sigmoid"]

RECIPES: dict[str, tuple[CDF, float, float]] = {
    "vicreg": ("sigmoid", 10.0, 1.0),
    "simsiam": ("normal", 1.0, 25.0),
}
"""By objective: the map to [0, 1], β and γ, as published; `OTHERS` for all others."""

OTHERS: tuple[CDF, float, float] = ("normal", 10.0, 1.0)


def marginal_entropy(values: Tensor) -> Tensor:
    """Return the mean entropy of the features of values [N, D], by m-spacings.

    mean over d and i of log( (N + 1)/m·(u₍ᵢ₊ₘ₎ − u₍ᵢ₎) + ε ), where u₍ᵢ₎ are a feature's values in
    order, m is √N rounded, and ε the machine's.
    """
    count = len(values)
    spacing = round(math.sqrt(count))
    ordered = values.sort(0).values
    gaps = ordered[spacing:] - ordered[:-spacing]
    epsilon = torch.finfo(values.dtype).eps
    return ((count + 1) / spacing * gaps + epsilon).log().mean()


@in_float32
def e2mc(projections: Tensor, cdf: CDF, entropy: float, covariance: float) -> Tensor:
    """Return −β·mean over views of H(u) + γ·Σ over views of Σ_{i≠j} cov(u)_ij² / D.

    u is the projections mapped to [0, 1] by a cumulative distribution function, H is
    `marginal_entropy`. It is least where each feature is uniform and no two covary.

    Parameters
    ----------
    projections : Tensor
        [V, N, D], N ≥ 3, not normalised.
    cdf : {"normal", "sigmoid"}
        The standard normal distribution's, or the logistic one's.
    entropy, covariance : float
        β and γ.

    Source: Chakraborty et al., "Improving Pre-trained Self-Supervised Embeddings Through Effective
    Entropy Maximization", AISTATS 2025, section 4.

    Examples
    --------
    >>> projections = torch.linspace(-1, 1, 8).reshape(1, 4, 2)
    >>> round(float(e2mc(projections, "sigmoid", entropy=10.0, covariance=1.0)), 2)
    3.87
    """
    u = torch.special.ndtr(projections) if cdf == "normal" else projections.sigmoid()
    spread = torch.stack([marginal_entropy(view) for view in u]).mean()
    redundancy = torch.stack([off_diagonal_covariance(view) for view in u]).sum()
    return covariance * redundancy - entropy * spread


class E2MC(Term):
    """Adds: an even spread of every feature. For the last rounds of a run that has learned already.

    It acts on what the objective projects, and has nothing of its own to train. Set ``begin`` to
    0.9 or so: it is made to continue training for a few epochs, not to start it. Entropies of a
    small client's few examples are rough.
    """

    class Config(TermConfig):
        """An E2MC term."""

        name: Literal["e2mc"] = "e2mc"
        """Maximise the entropy of projections."""
        entropy: Number | None = Field(None, ge=0)
        """β: the weight of each feature's entropy; null is 10, or 1 with simsiam, as published."""
        covariance: Number | None = Field(None, ge=0)
        """γ: the weight of covariances; null is 1, or 25 with simsiam, as published."""

    config: Config

    def __init__(self, config: TermConfig, objective: str, features: int, modality: Modality):
        super().__init__(config, objective, features, modality)
        if objective == "mae":
            raise ValueError("objective.terms: e2mc acts on projections, and mae makes none")
        self.cdf, entropy, covariance = RECIPES.get(objective, OTHERS)
        self.entropy = entropy if self.config.entropy is None else self.config.entropy
        self.covariance = covariance if self.config.covariance is None else self.config.covariance

    def forward(self, encoder: nn.Module, projections: Tensor, batch: Batch) -> Tensor:
        """Return the weighted entropies and covariances, a scalar."""
        if len(projections) == 0:
            raise ValueError("objective.terms: e2mc acts on projections, and there are none")
        return e2mc(projections, self.cdf, self.entropy, self.covariance)
