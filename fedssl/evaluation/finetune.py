"""Semi-supervised fine-tuning: what the encoder is worth where few labels are known."""

import copy
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.features import extract
from fedssl.evaluation.linear import accuracy, fit_linear
from fedssl.evaluation.metrics import ACCURACY
from fedssl.evaluation.stratified import stratified
from fedssl.evaluation.subject import MeasureResult, Subject, View
from fedssl.networks.encoder import device_of

EPOCHS = {1: 60, 10: 30}
"""Passes by the share of the labels, in per cent."""
LR, MOMENTUM, BATCH = 0.05, 0.9, 64
"""The learning rate is for batches of 256, and proportional to theirs."""


def finetune(
    encoder: nn.Module,
    examples: Tensor,
    labels: Tensor,
    view: View,
    generator: torch.Generator,
    epochs: int,
) -> nn.Module:
    """Train a copy of the encoder, with a linear classifier on top, on labelled examples.

    SGD with Nesterov's momentum 0.9, learning rate 0.05·B/256 without a schedule, no weight decay,
    batches of 64 (or all, where there are fewer), weak views. BatchNorm is in training
    mode; a last batch of one example is left out. The classifier starts at zero.

    Parameters
    ----------
    encoder : nn.Module
        Maps prepared examples [B, …] to features [B, ``features``]; left as it is.
    examples : Tensor
        [n, …] as stored, n ≥ 2.
    labels : Tensor
        int64 [n], from 0 to C − 1.
    view : View
        Makes a view of each example.
    generator : torch.Generator
        On the CPU: of the order and the views.
    epochs : int
        Passes over the examples.

    Returns
    -------
    nn.Module
        Maps examples to logits [B, C], in eval mode.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
    ICML 2020, appendix B.5, but for the batches: 4,096 there, whose learning rate 0.8 this is.
    """
    tuned, device = copy.deepcopy(encoder).train(), device_of(encoder)
    labels, classes = labels.to(device), int(labels.max()) + 1
    # On no device at first, so that nothing is drawn for it.
    head = nn.Linear(cast(int, tuned.features), classes, device="meta").to_empty(device=device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(tuned, head)
    batch = min(BATCH, len(examples))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR * batch / 256, momentum=MOMENTUM, nesterov=True
    )
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(examples), generator=generator), batch):
            if len(rows) < 2:
                continue
            shown = view(examples[rows].to(device), generator)
            loss = F.cross_entropy(model(shown), labels[rows.to(device)])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model.eval()


def few(subject: Subject, percent: int) -> np.ndarray:
    """Draw the rows of the labelled training examples whose labels are known, class by class."""
    labels = subject.examples.train.labels.numpy()
    return stratified(labels, percent / 100, subject.generator(f"{percent} % of the labels"))


class FineTune(Measure):
    """Few labels: the whole network tuned on 1 % and 10 %."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: fine-tuning."""

        name: Literal["finetune"] = "finetune"
        """The name of this measure."""

    reports: ClassVar = {f"finetuned_{percent}_accuracy": ACCURACY for percent in EPOCHS}

    def measure(self, subject: Subject) -> MeasureResult:
        """Fine-tune the whole network on 1 % and on 10 % of the labels, and test it.

        They are shares of the labelled training examples that ``evaluation.limit`` leaves, drawn
        class by class, at least one example of each. The labels are the server's: no client takes
        part.
        """
        subject.need_labels()
        figures, counts, test = {}, {}, subject.examples.test.fetch()
        for percent, epochs in EPOCHS.items():
            rows = few(subject, percent)
            examples = subject.examples.train.fetch(rows)
            subject.on_progress(f"{len(rows)} labels, {epochs} passes")
            tuned = finetune(
                subject.encoder,
                examples,
                subject.examples.train.labels[torch.from_numpy(rows)],
                subject.weak_view,
                subject.generator(f"fine-tuning on {percent} %"),
                epochs,
            )
            predicted = extract(tuned, test, subject.preparation).argmax(1)
            figures[f"finetuned_{percent}_accuracy"] = accuracy(predicted, subject.test_labels)
            counts[f"labels_{percent}"] = len(rows)
        return MeasureResult(figures, counts)


class FineTuneHead(Measure):
    """Few labels: the head alone, on the same."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: the head alone."""

        name: Literal["finetune-head"] = "finetune-head"
        """The name of this measure."""

    reports: ClassVar = {f"head_{percent}_accuracy": ACCURACY for percent in EPOCHS}

    def measure(self, subject: Subject) -> MeasureResult:
        """Fit the linear probe alone on the same 1 % and 10 % of the labels."""
        subject.need_labels()
        figures, counts = {}, {}
        for percent in EPOCHS:
            rows = torch.from_numpy(few(subject, percent)).to(subject.device)
            probe = fit_linear(
                subject.train_features[rows], subject.train_labels[rows], subject.config.l2
            )
            predicted = probe.predict(subject.test_features)
            figures[f"head_{percent}_accuracy"] = accuracy(predicted, subject.test_labels)
            counts[f"labels_{percent}"] = len(rows)
        return MeasureResult(figures, counts)
