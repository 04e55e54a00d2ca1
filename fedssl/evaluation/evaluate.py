"""All measures of the central evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from fedssl.data.dataset import Dataset, Splits
from fedssl.data.select import balanced, hold_out
from fedssl.evaluation.config import EvaluationConfig
from fedssl.evaluation.features import extract
from fedssl.evaluation.knn import predict_knn
from fedssl.evaluation.linear import accuracy, fit_linear
from fedssl.evaluation.parallel import one_thread
from fedssl.evaluation.rankme import rankme
from fedssl.evaluation.recalibrate import recalibrated
from fedssl.modalities import Preparation

RECALIBRATION_EXAMPLES = 2048
"""How many training examples BatchNorm statistics are measured on."""


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


def gather(splits: Splits, config: EvaluationConfig) -> Gathered:
    """Choose the examples of the central evaluation, the same for every round, and fetch them."""
    train, labels = splits.train, splits.train.labels.numpy()
    labelled = np.flatnonzero(labels >= 0)
    none = np.full(len(train) if config.recalibrate_bn else 0, -1)
    recalibration = train.fetch(balanced(none, RECALIBRATION_EXAMPLES))
    scored, among = splits.test, np.arange(len(splits.test))
    if config.split == "validation":
        kept, held = hold_out(labels[labelled])
        scored, among, labelled = train, labelled[held], labelled[kept]
    rows = labelled[balanced(labels[labelled], config.limit.train)]
    return Gathered(
        _take(train, rows),
        _take(scored, among[balanced(scored.labels.numpy()[among], config.limit.test)]),
        rows,
        recalibration,
    )


def _take(dataset: Dataset, index: np.ndarray) -> Dataset:
    """Take the examples at ``index``, ascending, but copy nothing where all are in memory."""
    whole = len(index) == len(dataset) and isinstance(dataset.examples, Tensor)
    return dataset if whole else dataset.take(index)


def evaluate(
    encoder: nn.Module,
    examples: Gathered,
    config: EvaluationConfig,
    preparation: Preparation,
    predicted: Callable[[Tensor], None] = lambda _: None,
) -> dict[str, float]:
    """Measure the frozen encoder's features; the same bits whatever the number of cores.

    Parameters
    ----------
    encoder : nn.Module
        Maps prepared examples [B, …] to features [B, D]; left as it is.
    examples : Gathered
        By the same ``config``.
    config : EvaluationConfig
        The ``evaluation`` section.
    preparation : Preparation
        Turns stored examples into what the encoder takes.
    predicted : Callable[[Tensor], None]
        Called with the linear probe's label for each test example, int64 [M], where there is a
        probe.

    Returns
    -------
    dict[str, float]
        ``rankme`` of the features of all test examples (after the limit, so of a fixed number);
        where both parts have labels also ``linear_accuracy`` and ``knn_accuracy``, in [0, 1],
        and with ``recalibrate_bn`` ``linear_accuracy_recalibrated``.
    """
    train, test = examples.train, examples.test
    with one_thread():
        features = extract(encoder, test.fetch(), preparation)
        if not features.isfinite().all():
            raise ValueError(
                "the encoder's features became infinite or NaN: try a lower client.lr or set "
                "client.clip_norm"
            )
        measures = {"rankme": rankme(features)}
        if len(train) == 0 or not (test.labels >= 0).any():
            return measures
        device = features.device
        train_labels, test_labels = train.labels.to(device), test.labels.to(device)
        bank = extract(encoder, train.fetch(), preparation)
        probe = fit_linear(bank, train_labels, config.l2)
        votes = predict_knn(
            bank, train_labels, features, k=config.knn_k, temperature=config.knn_temperature
        )
        found = probe.predict(features)
        predicted(found)
        measures["linear_accuracy"] = accuracy(found, test_labels)
        measures["knn_accuracy"] = accuracy(votes, test_labels)
        if config.recalibrate_bn:
            encoder = recalibrated(encoder, examples.recalibration, preparation)
            probe = fit_linear(
                extract(encoder, train.fetch(), preparation), train_labels, config.l2
            )
            found = probe.predict(extract(encoder, test.fetch(), preparation))
            measures["linear_accuracy_recalibrated"] = accuracy(found, test_labels)
        return measures
