"""The linear probe as the L-DAWA paper's code fits it: by SGD, on features before pooling."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.features import extract
from fedssl.evaluation.linear import LinearProbe, accuracy
from fedssl.evaluation.metrics import ACCURACY
from fedssl.evaluation.prepool import before_pooling
from fedssl.evaluation.subject import MeasureResult, Subject

EPOCHS = 100
DROPS = (60, 80)
"""After so many epochs the learning rate is a tenth of what it was."""
LR, MOMENTUM, BATCH = 0.01, 0.9, 128


def fit_by_sgd(
    features: Tensor, labels: Tensor, generator: torch.Generator, epochs: int = EPOCHS
) -> LinearProbe:
    """Fit a linear classifier by SGD with Nesterov's momentum, and take the last epoch's.

    Learning rate 0.01, ×0.1 after epochs 60 and 80, batches of 128, cross-entropy, no penalty; the
    features are neither augmented nor standardised.

    Parameters
    ----------
    features : Tensor
        float32 [N, D].
    labels : Tensor
        int64 [N]; rows with label −1 are left out.
    generator : torch.Generator
        On the CPU: of the first weights, uniform in ±1/√D, and of the order.
    epochs : int
        How many passes there are.

    Returns
    -------
    LinearProbe
        Its ``objective`` is the mean loss over the last epoch.

    Raises
    ------
    ValueError
        No row has a label.

    Source: Rehman et al., "L-DAWA", ICCV 2023, as its released code does it. The momentum, 0.9,
    and that there is no weight decay, could not be verified.
    """
    labelled = labels >= 0
    x = features[labelled]
    if len(x) == 0:
        raise ValueError("the linear probe needs labelled examples, but none has a label")
    classes, y = torch.unique(labels[labelled], return_inverse=True)
    width = x.shape[1]
    initial = torch.rand(len(classes), width + 1, generator=generator).to(x.device)
    initial = (2 * initial - 1) / width**0.5
    weight, bias = (p.clone().requires_grad_() for p in (initial[:, :width], initial[:, width]))
    optimizer = torch.optim.SGD([weight, bias], lr=LR, momentum=MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(DROPS), gamma=0.1)
    loss = 0.0
    for _ in range(epochs):
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        order = torch.randperm(len(x), generator=generator).to(x.device)
        for rows in torch.split(order, BATCH):
            value = F.cross_entropy(F.linear(x[rows], weight, bias), y[rows])
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += value.detach() * len(rows)
        schedule.step()
        loss = total.item() / len(x)
    return LinearProbe(classes, weight.detach().double(), bias.detach().double(), loss)


class Paper(Measure):
    """The L-DAWA paper's probe: features before pooling, SGD, 100 epochs."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: that paper's probe."""

        name: Literal["paper"] = "paper"
        """The name of this measure."""

    reports: ClassVar = {"paper_accuracy": ACCURACY}

    def measure(self, subject: Subject) -> MeasureResult:
        """Fit on the maps before pooling: 8,192 features of a ResNet of images of 32×32 pixels.

        It takes N × 8,192 × 4 bytes of memory: 1.6 GB for 50,000 examples.
        """
        subject.need_labels()
        train, test = subject.examples.train, subject.examples.test
        trial = subject.preparation(test.fetch()[:1])
        with before_pooling(subject.encoder, trial) as encoder:
            features = extract(encoder, train.fetch(), subject.preparation)
            queries = extract(encoder, test.fetch(), subject.preparation)
        probe = fit_by_sgd(features, subject.train_labels, subject.generator("paper"))
        right = accuracy(probe.predict(queries), subject.test_labels)
        return MeasureResult({"paper_accuracy": right}, {"features": features.shape[1]})
