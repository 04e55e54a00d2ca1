"""Cautions on metrics that mean less than they seem to, shown before the first round."""

from collections.abc import Iterator

import numpy as np

from fedssl.data import Splits
from fedssl.evaluation import MEASURES
from fedssl.modalities import noun_of
from simulations.settings.experiment import Experiment

_NAMED = 5


def cautions(experiment: Experiment, splits: Splits) -> Iterator[str]:
    """Yield each caution, one sentence each."""
    yield from _of_labels(experiment, splits)
    rounds = experiment.rounds
    warmup = getattr(experiment.strategy, "warmup_rounds", 0)
    if isinstance(warmup, int) and warmup >= rounds:
        yield (
            f"strategy.warmup_rounds = {warmup}, but rounds = {rounds}: "
            f"{experiment.strategy.name} is FedAvg in all of them; raise rounds or lower it"
        )
    if experiment.client.warmup_rounds >= rounds:
        yield (
            f"client.warmup_rounds = {experiment.client.warmup_rounds}, but rounds = {rounds}: "
            "the learning rate never reaches client.lr; raise rounds or lower it"
        )


def is_labelled(splits: Splits) -> bool:
    """Return whether training and test examples both have labels, as the linear probe needs."""
    return all(bool((part.labels >= 0).any()) for part in (splits.train, splits.test))


def _of_labels(experiment: Experiment, splits: Splits) -> Iterator[str]:
    noun = noun_of(experiment.data.modality)[1]
    names = splits.train.class_names or splits.test.class_names
    labels = [part.labels.numpy() for part in (splits.train, splits.test)]
    if experiment.evaluation.split == "validation":
        labels[1] = labels[0]
    train_classes, test_classes = (np.unique(part[part >= 0]) for part in labels)
    if not len(train_classes) or not len(test_classes):
        neither = not len(train_classes) and not len(test_classes)
        which = "training and test" if neither else "test" if len(train_classes) else "training"
        others = ", ".join(name for name, measure in MEASURES.items() if not measure.labels)
        yield (
            f"the {which} {noun} have no labels, so linear_accuracy and knn_accuracy will be "
            f"missing; RankMe is measured, and these need none: {others}"
        )
        return
    if len(np.union1d(train_classes, test_classes)) == 1:
        yield (
            f"all labelled {noun} are of one class ({names[int(train_classes[0])]}), so every "
            "accuracy will be 100 % and mean nothing"
        )
        return
    missing = np.setdiff1d(test_classes, train_classes)
    if len(missing):
        count = int(np.isin(labels[1], missing).sum())
        share = count / int((labels[1] >= 0).sum())
        shown = ", ".join(names[label] for label in missing[:_NAMED].tolist())
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        yield (
            f"the labelled training {noun} lack {len(missing)} of the classes of the test {noun} "
            f"({shown}{more}): {count:,} test {noun} ({share:.0%}) will always count as wrong"
        )
