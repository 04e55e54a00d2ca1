"""The linear probe: multinomial logistic regression on frozen features."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.metrics import ACCURACY
from fedssl.evaluation.subject import MeasureResult, Subject

TOLERANCE = 1e-6
"""The fit ends where no entry of the gradient is larger."""
ITERATIONS = 500
"""The most iterations of a fit."""


@dataclass(frozen=True)
class LinearProbe:
    """A fitted linear classifier, in terms of the features as they are (not standardised)."""

    labels: Tensor
    """int64 [K]: the labels that were seen, ascending."""
    weight: Tensor
    """float64 [K, D]."""
    bias: Tensor
    """float64 [K]."""
    objective: float
    """The minimum that was reached: mean cross-entropy and penalty."""

    def predict(self, features: Tensor) -> Tensor:
        """Return the likeliest label of each of N features [N, D]: int64 [N]."""
        return self.labels[(features.double() @ self.weight.T + self.bias).argmax(1)]


def fit_linear(features: Tensor, labels: Tensor, l2: float) -> LinearProbe:
    """Minimise mean cross-entropy + (l2/2)·‖W‖² over W and an unpenalised bias.

    W acts on standardised features: of each, the mean over the fitted rows is subtracted and the
    (biased) standard deviation divided out; a constant feature becomes zero. It is scikit-learn's
    ``LogisticRegression`` with C = 1 / (l2·N).

    L-BFGS runs on the full batch in float64, in coordinates V with W = V·L⁻¹, where
    L·Lᵀ = XᵀX/(2N) + l2·I bounds the Hessian of one class (Böhning, "Multinomial Logistic
    Regression Algorithm", 1992). There all directions are about equally steep, so tens of
    iterations do where plain L-BFGS needs hundreds.

    Parameters
    ----------
    features : Tensor
        float [N, D].
    labels : Tensor
        int64 [N]; rows with label -1 are left out.
    l2 : float
        The strength of the penalty, > 0.

    Raises
    ------
    ValueError
        No row has a label, or a feature is infinite or NaN.
    """
    labelled = labels >= 0
    # [D, N]: with many columns, the products with K rows are several times faster.
    x = features[labelled].T.double().contiguous()
    count = x.shape[1]
    if count == 0:
        raise ValueError("the linear probe needs labelled examples, but none has a label")
    if not x.isfinite().all():
        raise ValueError("the encoder's features are not all finite: has the training diverged?")
    classes, y = torch.unique(labels[labelled], return_inverse=True)
    mean, std = x.mean(1), x.std(1, correction=0)
    inverse_std = torch.where(std > 1e-12 * mean.abs(), 1 / std, 0.0)
    x = (x - mean[:, None]) * inverse_std[:, None]
    identity = torch.eye(len(x), dtype=x.dtype, device=x.device)
    factor = torch.linalg.cholesky(x @ x.T / (2 * count) + l2 * identity)
    change = torch.linalg.solve_triangular(factor, identity, upper=False)

    v = x.new_zeros(len(classes), len(x), requires_grad=True)
    bias = x.new_zeros(len(classes), 1, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [v, bias],
        max_iter=ITERATIONS,
        tolerance_grad=TOLERANCE,
        tolerance_change=0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        weight = v @ change
        penalty: Tensor = l2 / 2 * weight.square().sum()
        return F.cross_entropy((weight @ x + bias)[None], y[None]) + penalty

    def closure() -> float:
        optimizer.zero_grad()
        loss = objective()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        reached = objective().item()
        weight = v @ change * inverse_std
        return LinearProbe(classes, weight, bias.squeeze(1) - weight @ mean, reached)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Return the share of right predictions among the labelled rows, in [0, 1]."""
    labelled = labels >= 0
    return (predicted[labelled] == labels[labelled]).double().mean().item()


class Linear(Measure):
    """The main figure: a linear classifier on frozen features."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: the linear probe."""

        name: Literal["linear"] = "linear"
        """The name of this measure."""

    reports: ClassVar = {"linear_accuracy": ACCURACY}

    def measure(self, subject: Subject) -> MeasureResult:
        """Fit on the labelled training examples, score on test examples; see `fit_linear`."""
        subject.need_labels()
        probe = fit_linear(subject.train_features, subject.train_labels, subject.config.l2)
        predictions = probe.predict(subject.test_features)
        right = accuracy(predictions, subject.test_labels)
        return MeasureResult({"linear_accuracy": right}, predictions=predictions)
