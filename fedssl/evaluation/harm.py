"""Representation harm: which classes, and whose examples, does the encoder serve worst?"""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.linear import fit_linear
from fedssl.evaluation.metrics import ACCURACY, MetricDescription
from fedssl.evaluation.subject import MeasureResult, Subject

FOLDS = 5
"""Training examples are predicted by probes fitted on the other folds."""
LEAST = 10
"""A group with fewer examples is reported, but never as the worst or the best."""
GROUPS = ("class", "domain", "client")
"""Accuracy is measured by each of these."""


def by_group(right: np.ndarray, group: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of right predictions in each group, and how many there are.

    Parameters
    ----------
    right : np.ndarray
        bool [N].
    group : np.ndarray
        int64 [N]; −1 is left out.
    groups : int
        G: how many groups there are.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        float64 [G], NaN where a group is empty; int64 [G].

    Examples
    --------
    >>> share, count = by_group(np.array([True, False, True]), np.array([0, 0, 1]), groups=2)
    >>> share.tolist(), count.tolist()
    ([0.5, 1.0], [2, 1])
    """
    in_group = group >= 0
    count = np.bincount(group[in_group], minlength=groups)
    hits = np.bincount(group[in_group], weights=right[in_group], minlength=groups)
    return np.divide(hits, count, out=np.full(groups, np.nan), where=count > 0), count


def extremes(accuracy: np.ndarray, count: np.ndarray, least: int = LEAST) -> tuple[float, float]:
    """Return the worst accuracy and the gap to the best, of groups of ``least`` or more examples.

    If no group is so large, all groups with examples count.

    Examples
    --------
    >>> worst, gap = extremes(np.array([0.25, 0.75]), np.array([20, 30]))
    >>> worst, gap
    (0.25, 0.5)
    """
    enough = count >= min(least, count.max())
    judged = accuracy[enough & (count > 0)]
    return float(judged.min()), float(judged.max() - judged.min())


def held_out_predictions(
    features: Tensor, labels: Tensor, l2: float, generator: torch.Generator, folds: int = FOLDS
) -> Tensor:
    """Return a prediction, int64 [N], of each example by a probe that was not fitted on it.

    Parameters
    ----------
    features, labels : Tensor
        float [N, D] and int64 [N], N ≥ 2, all labelled.
    l2 : float
        See `fit_linear`.
    generator : torch.Generator
        Deals the examples to the folds.
    folds : int
        How many probes are fitted; fewer where there are fewer examples.
    """
    count = len(labels)
    fold = torch.randperm(count, generator=generator).to(labels.device) % min(folds, count)
    predicted = torch.empty_like(labels)
    for number in range(min(folds, count)):
        out = fold == number
        predicted[out] = fit_linear(features[~out], labels[~out], l2).predict(features[out])
    return predicted


class Harm(Measure):
    """Who is served worst: accuracy by class and by client."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: representation harm."""

        name: Literal["harm"] = "harm"
        """The name of this measure."""

    reports: ClassVar = {
        **{f"worst_{group}_accuracy": ACCURACY for group in GROUPS},
        **{f"{group}_gap": MetricDescription(unit="share", better="lower") for group in GROUPS},
    }

    def measure(self, subject: Subject) -> MeasureResult:
        """Measure the linear probe's accuracy by class, and by client.

        By class it is that on the test examples, and so it is by domain, where they have such a
        column (as folders of the layout domain/class do). A test example has no client, so by
        client it is that on the client's own labelled training examples, each predicted by one of
        five probes that were not fitted on it; the encoder was trained on them, though, without
        their labels. Every client's examples count towards one probe, so a client whose classes are
        rare elsewhere does worse.

        Worst and gap are those of classes and clients with at least ten examples; the fewer they
        have, the more of the gap is chance.
        """
        subject.need_labels()
        l2, names = subject.config.l2, subject.examples.train.class_names
        labels, test_labels = subject.train_labels, subject.test_labels
        probe = fit_linear(subject.train_features, labels, l2)
        right = (probe.predict(subject.test_features) == test_labels).cpu().numpy()
        classes, class_count = by_group(right, test_labels.cpu().numpy(), len(names))
        worst, gap = extremes(classes, class_count)
        figures = {"worst_class_accuracy": worst, "class_gap": gap}
        details: dict[str, Any] = {
            "classes": list(names),
            "class_accuracy": _numbers(classes),
            "class_examples": class_count.tolist(),
        }
        test = subject.examples.test
        if (domains := test.fields.get("domain")) is not None:
            values, group = np.unique(domains, return_inverse=True)
            group = np.where(test.labels.numpy() < 0, -1, group)
            accuracy, examples = by_group(right, group, len(values))
            if examples.any():
                worst, gap = extremes(accuracy, examples)
                figures |= {"worst_domain_accuracy": worst, "domain_gap": gap}
                details |= {
                    "domains": [test.name_of("domain", value) for value in values.tolist()],
                    "domain_accuracy": _numbers(accuracy),
                    "domain_examples": examples.tolist(),
                }
        if subject.clients is not None and (subject.clients >= 0).any():
            predicted = held_out_predictions(
                subject.train_features, labels, l2, subject.generator("representation harm")
            )
            right = (predicted == labels).cpu().numpy()
            assert subject.owner is not None
            clients, examples = by_group(right, subject.clients, int(subject.owner.max()) + 1)
            worst, gap = extremes(clients, examples)
            figures |= {"worst_client_accuracy": worst, "client_gap": gap}
            details |= {"client_accuracy": _numbers(clients), "client_examples": examples.tolist()}
            if subject.client_names:
                details["client_names"] = list(subject.client_names)
        return MeasureResult(figures, details)


def _numbers(values: np.ndarray) -> list[float | None]:
    """Return numbers as JSON has them: nothing in place of NaN."""
    return [None if np.isnan(value) else float(value) for value in values]
