"""BatchNorm statistics measured anew."""

import copy
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.features import extract
from fedssl.evaluation.linear import accuracy, fit_linear
from fedssl.evaluation.metrics import ACCURACY
from fedssl.evaluation.parallel import one_thread
from fedssl.evaluation.subject import MeasureResult, Subject
from fedssl.modalities import Preparation
from fedssl.networks.encoder import device_of


@torch.no_grad()
def recalibrated(
    encoder: nn.Module,
    examples: Tensor,
    preparation: Preparation,
    batch_size: int = 256,
) -> nn.Module:
    """Return a copy of the encoder whose BatchNorm statistics were measured on the examples.

    They are the plain mean of the batches' means and variances; a smaller last batch is left out
    unless it is the only one. Merged models need it where a strategy changes the weights but not
    the statistics to go with them.

    Parameters
    ----------
    encoder : nn.Module
        Left as it is.
    examples : Tensor
        [N, …] as stored, N ≥ 2; no labels are needed, nothing is augmented.
    preparation : Preparation
        Turns them into what the encoder takes.
    batch_size : int
        Examples in a forward pass.
    """
    measured = copy.deepcopy(encoder).eval()
    for module in measured.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    device = device_of(measured)
    with one_thread():
        for batch in torch.split(examples, batch_size):
            if len(batch) == batch_size or len(examples) < batch_size:
                measured(preparation(batch.to(device)))
    return measured.eval()


class Recalibrated(Measure):
    """The linear probe, with BatchNorm statistics measured anew."""

    class Config(MeasureConfig):
        """It is asked for by ``evaluation.recalibrate_bn``, not by its name."""

        name: Literal["linear, recalibrated"] = "linear, recalibrated"
        """The name of this measure."""

    reports: ClassVar = {"linear_accuracy_recalibrated": ACCURACY}

    def measure(self, subject: Subject) -> MeasureResult:
        """Fit and score as the linear probe, on the features of a copy of the encoder."""
        subject.need_labels()
        train, test = subject.examples.train, subject.examples.test
        preparation = subject.preparation
        encoder = recalibrated(subject.encoder, subject.examples.recalibration, preparation)
        features = extract(encoder, train.fetch(), preparation)
        probe = fit_linear(features, subject.train_labels, subject.config.l2)
        predicted = probe.predict(extract(encoder, test.fetch(), preparation))
        right = accuracy(predicted, subject.test_labels)
        return MeasureResult({"linear_accuracy_recalibrated": right})
