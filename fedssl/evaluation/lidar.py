"""LiDAR: how many dimensions tell examples apart, beyond what their own views scatter over."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.metrics import MetricDescription
from fedssl.evaluation.subject import MeasureResult, Subject

EXAMPLES, VIEWS = 1_000, 50
"""At most so many examples n, and so many views q of each: those of the paper."""
DELTA = 1e-4
"""δ."""


def lidar(features: Tensor, delta: float = DELTA) -> float:
    """Return the exponential of the entropy of the normalised eigenvalues of Σw^−½·Σb·Σw^−½.

    Each example is a class, its q views are the class's members. μ_i is the mean of example i's
    features, μ that of all: Σb = mean_i (μ_i − μ)(μ_i − μ)ᵀ, and
    Σw = mean_ij (z_ij − μ_i)(z_ij − μ_i)ᵀ + δ·I. With p = λ/Σλ of the eigenvalues,
    exp(−Σ p·log p): from 1 to min(n − 1, D). Like RankMe it depends on n, and is not for comparing
    methods; unlike it, directions in which an example's own views differ as much as examples do
    count for little (about 1/q: so compare at equal q, too).

    Parameters
    ----------
    features : Tensor
        float [n, q, D], q ≥ 2. Features that are all the same give 0.
    delta : float
        δ > 0, in units of the features' variance.

    Source: Thilak et al., "LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL
    Architectures", ICLR 2024, section 4. The paper adds a tiny constant to each p, which is left
    out here; whether it divides by n or n − 1 could not be verified. Either way both scatters are
    only scaled, which matters as little as δ does beside Σw: where features are so small that it
    does, the value depends on their scale.

    Examples
    --------
    >>> features = torch.eye(3)[:, None].repeat(1, 2, 1)  # three examples, two equal views
    >>> round(lidar(features), 2)
    2.0
    """
    z = features.double()
    count, views, width = z.shape
    means = z.mean(1)
    inside = (z - means[:, None]).reshape(-1, width)
    between = means - means.mean(0)
    identity = torch.eye(width, dtype=z.dtype, device=z.device)
    within = inside.T @ inside / (count * views) + delta * identity
    # Σw = L·Lᵀ: L⁻¹·Σb·L⁻ᵀ has the eigenvalues of Σw^−½·Σb·Σw^−½.
    factor = torch.linalg.cholesky(within)
    whitened = torch.linalg.solve_triangular(factor, between.T, upper=False)
    values = torch.linalg.eigvalsh(whitened @ whitened.T).clamp(min=0)
    total = values.sum()
    if total == 0:
        return 0.0
    return math.exp(torch.special.entr(values / total).sum().item())


class LiDAR(Measure):
    """No labels: dimensions that tell examples apart, not their views."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: LiDAR."""

        name: Literal["lidar"] = "lidar"
        """The name of this measure."""

    labels = False
    reports: ClassVar = {"lidar": MetricDescription(better="higher")}

    def measure(self, subject: Subject) -> MeasureResult:
        """Measure the encoder's features of views of test examples; no labels are needed.

        Federated it says nothing of a client alone: the views are of the server's examples.
        """
        examples = subject.examples.test.fetch()[:EXAMPLES]
        views = []
        for number in range(VIEWS):
            subject.on_progress(f"view {number + 1} of {VIEWS}")
            views.append(subject.views_of(examples, "lidar", number))
        return MeasureResult({"lidar": lidar(torch.stack(views, 1))}, {"examples": len(examples)})
