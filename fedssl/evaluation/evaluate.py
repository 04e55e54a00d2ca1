"""All measures of the central evaluation."""

from collections.abc import Callable, Sequence
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

RECALIBRATION_IMAGES = 2048
"""How many training images BatchNorm statistics are measured on."""


@dataclass(frozen=True)
class Gathered:
    """The images that the central evaluation works on, in memory."""

    train: Dataset
    """Labelled training images, which the probes are fitted on; empty where there are none."""
    test: Dataset
    """What the probes are scored on."""
    rows: np.ndarray
    """int64 [N]: where the images of ``train`` are among all training images, ascending."""
    recalibration: Tensor
    """Training images, labelled or not, that BatchNorm statistics are measured on: uint8
    [M, 3, H, W], empty unless ``recalibrate_bn`` is set."""


def gather(splits: Splits, config: EvaluationConfig) -> Gathered:
    """Choose the images of the central evaluation, the same for every round, and fetch them."""
    train, labels = splits.train, splits.train.labels.numpy()
    labelled = np.flatnonzero(labels >= 0)
    none = np.full(len(train) if config.recalibrate_bn else 0, -1)
    recalibration = train.fetch(balanced(none, RECALIBRATION_IMAGES))
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
    """Take the images at ``index``, ascending, but copy nothing where all are in memory."""
    whole = len(index) == len(dataset) and isinstance(dataset.images, Tensor)
    return dataset if whole else dataset.take(index)


def evaluate(
    encoder: nn.Module,
    images: Gathered,
    config: EvaluationConfig,
    mean: Sequence[float],
    std: Sequence[float],
    predicted: Callable[[Tensor], None] = lambda _: None,
) -> dict[str, float]:
    """Measure the frozen encoder's features; the same bits whatever the number of cores.

    Parameters
    ----------
    encoder : nn.Module
        Maps images [B, C, H, W] to features [B, D]; left as it is.
    images : Gathered
        By the same ``config``.
    config : EvaluationConfig
        The ``evaluation`` section.
    mean, std : Sequence[float]
        Each channel's constants for images in [0, 1].
    predicted : Callable[[Tensor], None]
        Called with the linear probe's label for each test image, int64 [M], where there is a probe.

    Returns
    -------
    dict[str, float]
        ``rankme`` of the features of all test images (after the limit, so of a fixed number);
        where both parts have labels also ``linear_accuracy`` and ``knn_accuracy``, in [0, 1],
        and with ``recalibrate_bn`` ``linear_accuracy_recalibrated``.
    """
    train, test = images.train, images.test
    with one_thread():
        features = extract(encoder, test.fetch(), mean, std)
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
        bank = extract(encoder, train.fetch(), mean, std)
        probe = fit_linear(bank, train_labels, config.l2)
        votes = predict_knn(
            bank, train_labels, features, k=config.knn_k, temperature=config.knn_temperature
        )
        found = probe.predict(features)
        predicted(found)
        measures["linear_accuracy"] = accuracy(found, test_labels)
        measures["knn_accuracy"] = accuracy(votes, test_labels)
        if config.recalibrate_bn:
            encoder = recalibrated(encoder, images.recalibration, mean, std)
            probe = fit_linear(extract(encoder, train.fetch(), mean, std), train_labels, config.l2)
            found = probe.predict(extract(encoder, test.fetch(), mean, std))
            measures["linear_accuracy_recalibrated"] = accuracy(found, test_labels)
        return measures
