"""Risk decomposition: where does the probe's error come from?"""

from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.linear import accuracy, fit_linear
from fedssl.evaluation.metrics import MetricDescription
from fedssl.evaluation.stratified import stratified
from fedssl.evaluation.subject import MeasureResult, Subject

HELD_OUT = 0.1
"""The share of the training examples that makes the sub: much smaller than all."""


def decompose(
    train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, sub: np.ndarray, l2: float
) -> dict[str, float]:
    """Split the linear probe's risk (its error rate) into three parts that add up to it.

    With r(A → B) the error on B of a probe fitted on A, D the training examples that the encoder
    was trained on, and sub a small part of them:

    - usability = r(D → D): what no linear classifier of the features can do;
    - probe generalisation = r(D∖sub → sub) − r(D → D): what it takes too few labels to learn;
    - encoder generalisation = r(D → test) − r(D∖sub → sub): how much worse features are of examples
      that the encoder was not trained on.

    Parameters
    ----------
    train : Tensor
        float [N, D].
    labels : Tensor
        int64 [N], all of them ≥ 0.
    test, test_labels : Tensor
        float [M, D] and int64 [M]; rows with label −1 are left out.
    sub : np.ndarray
        int64: rows of ``train``.
    l2 : float
        See `fit_linear`.

    Source: Dubois, Hashimoto and Liang, "Evaluating Self-Supervised Learning via Risk
    Decomposition", ICML 2023. Their fourth part, the approximation error of the architecture,
    needs a supervised encoder and is within usability here.
    """
    kept = np.ones(len(labels), bool)
    kept[sub] = False
    whole, part = (fit_linear(train[k], labels[k], l2) for k in (kept | True, kept))
    on_itself = 1 - accuracy(whole.predict(train), labels)
    on_sub = 1 - accuracy(part.predict(train[sub]), labels[sub])
    on_test = 1 - accuracy(whole.predict(test), test_labels)
    return {
        "risk": on_test,
        "risk_usability": on_itself,
        "risk_probe_generalisation": on_sub - on_itself,
        "risk_encoder_generalisation": on_test - on_sub,
    }


class Risk(Measure):
    """Where the probe's error comes from, in three parts."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: the parts of the risk."""

        name: Literal["risk"] = "risk"
        """The name of this measure."""

    reports: ClassVar = {
        name: MetricDescription(unit="share", better="lower")
        for name in (
            "risk",
            "risk_usability",
            "risk_probe_generalisation",
            "risk_encoder_generalisation",
        )
    }

    def measure(self, subject: Subject) -> MeasureResult:
        """Decompose the risk on the labelled training examples, a tenth of each class held out.

        Federated, D is all clients' examples together: it says whether the merged encoder treats
        examples that some client has better than new ones. Where ``evaluation.limit`` leaves out
        training examples, D is what is left.
        """
        subject.need_labels()
        generator = subject.generator("risk decomposition")
        sub = stratified(subject.examples.train.labels.numpy(), HELD_OUT, generator)
        return MeasureResult(
            decompose(
                subject.train_features,
                subject.train_labels,
                subject.test_features,
                subject.test_labels,
                sub,
                subject.config.l2,
            )
        )
