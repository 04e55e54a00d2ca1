"""All measures of the central evaluation."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from fedssl.data.dataset import Splits
from fedssl.data.select import balanced
from fedssl.evaluation.config import EvaluationConfig
from fedssl.evaluation.features import extract
from fedssl.evaluation.knn import predict_knn
from fedssl.evaluation.linear import accuracy, fit_linear
from fedssl.evaluation.parallel import one_thread
from fedssl.evaluation.rankme import rankme
from fedssl.evaluation.recalibrate import recalibrated

RECALIBRATION_IMAGES = 2048
"""How many training images BatchNorm statistics are measured on."""


def evaluate(
    encoder: nn.Module,
    splits: Splits,
    config: EvaluationConfig,
    mean: Sequence[float],
    std: Sequence[float],
) -> dict[str, float]:
    """Measure the frozen encoder's features; the same bits whatever the number of cores.

    Parameters
    ----------
    encoder : nn.Module
        Maps images [B, C, H, W] to features [B, D]; left as it is.
    splits : Splits
        The probes are fitted on the labelled images of ``train`` and scored on those of ``test``.
    config : EvaluationConfig
        The ``evaluation`` section.
    mean, std : Sequence[float]
        Each channel's constants for images in [0, 1].

    Returns
    -------
    dict[str, float]
        ``rankme`` of the features of all test images (after the limit, so of a fixed number);
        where both splits have labels also ``linear_accuracy`` and ``knn_accuracy``, in [0, 1],
        and with ``recalibrate_bn`` ``linear_accuracy_recalibrated``.
    """
    test = splits.test.take(balanced(splits.test.labels.numpy(), config.limit.test))
    labelled = splits.train.take((splits.train.labels >= 0).numpy().nonzero()[0])
    train = labelled.take(balanced(labelled.labels.numpy(), config.limit.train))
    with one_thread():
        features = extract(encoder, test.images, mean, std)
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
        bank = extract(encoder, train.images, mean, std)
        probe = fit_linear(bank, train_labels, config.l2)
        votes = predict_knn(
            bank, train_labels, features, k=config.knn_k, temperature=config.knn_temperature
        )
        measures["linear_accuracy"] = accuracy(probe.predict(features), test_labels)
        measures["knn_accuracy"] = accuracy(votes, test_labels)
        if config.recalibrate_bn:
            unlabelled = np.full(len(splits.train), -1)
            rows = torch.from_numpy(balanced(unlabelled, RECALIBRATION_IMAGES))
            encoder = recalibrated(encoder, splits.train.images[rows], mean, std)
            probe = fit_linear(extract(encoder, train.images, mean, std), train_labels, config.l2)
            predicted = probe.predict(extract(encoder, test.images, mean, std))
            measures["linear_accuracy_recalibrated"] = accuracy(predicted, test_labels)
        return measures
