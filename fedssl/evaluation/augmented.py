"""The linear probe with augmentation: fitted on random views of the examples, too."""

from typing import ClassVar, Literal

import torch

from fedssl.base.seeding import generator
from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.features import extract_views
from fedssl.evaluation.linear import accuracy, fit_linear
from fedssl.evaluation.metrics import ACCURACY
from fedssl.evaluation.subject import MeasureResult, Subject

VIEWS = 5
"""Random views of each training example, besides the example itself."""


class Augmented(Measure):
    """The linear probe, fitted on weak views, too."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: the probe of weak views."""

        name: Literal["augmented"] = "augmented"
        """The name of this measure."""

    reports: ClassVar = {"augmented_accuracy": ACCURACY}

    def measure(self, subject: Subject) -> MeasureResult:
        """Fit the linear probe of `fit_linear` on each example and five weak views of it.

        Weak views are those that alter an example least; an image's are crop and flip alone. The
        test examples are not augmented. Most protocols draw new views in every pass of SGD; a fixed
        number of them lets the fit end where its gradient is zero, the same to the bit. It takes
        6·N × D × 8 bytes of memory.

        Source: the augmentation is that of Chen et al., "A Simple Framework for Contrastive
        Learning of Visual Representations", ICML 2020, appendix B.6 (crop and flip).
        """
        subject.need_labels()
        examples, view = subject.examples.train.fetch(), subject.weak_view
        features = [subject.train_features]
        for number in range(VIEWS):
            subject.on_progress(f"view {number + 1} of {VIEWS}")
            features.append(
                extract_views(
                    subject.encoder,
                    examples,
                    view,
                    lambda start, number=number: generator(  # type: ignore[misc]
                        subject.seed, "measure augmented probe", number, start
                    ),
                )
            )
        labels = subject.train_labels.repeat(len(features))
        probe = fit_linear(torch.cat(features), labels, subject.config.l2)
        right = accuracy(probe.predict(subject.test_features), subject.test_labels)
        return MeasureResult({"augmented_accuracy": right})
