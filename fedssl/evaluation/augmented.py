"""The linear probe with augmentation: fitted on random crops of the images, too."""

import torch

from fedssl.evaluation.features import extract_views
from fedssl.evaluation.linear import accuracy, fit_linear
from fedssl.evaluation.subject import Measured, Subject
from fedssl.seeding import generator
from fedssl.views import POLICIES, Views

CROPS = 5
"""Random crops of each training image, besides the image itself."""


def crop_and_flip(subject: Subject) -> Views:
    """Return the usual augmentation of probes: crops of at least a fifth, and flips, alone."""
    return Views(POLICIES["weak"][1], subject.mean, subject.std)


def measure(subject: Subject) -> Measured:
    """Fit the linear probe of `fit_linear` on each image and five random crops of it.

    The test images are not augmented. Most protocols draw new crops in every pass of SGD; a fixed
    number of them lets the fit end where its gradient is zero, the same to the bit. It takes
    6·N × D × 8 bytes of memory.

    Source: the augmentation is that of Chen et al., "A Simple Framework for Contrastive Learning
    of Visual Representations", ICML 2020, appendix B.6 (crop and flip).
    """
    subject.need_labels()
    images, view = subject.images.train.fetch(), crop_and_flip(subject)
    features = [subject.train_features]
    for crop in range(CROPS):
        subject.said(f"crop {crop + 1} of {CROPS}")
        features.append(
            extract_views(
                subject.encoder,
                images,
                view,
                lambda start, crop=crop: generator(  # type: ignore[misc]
                    subject.seed, "measure augmented probe", crop, start
                ),
            )
        )
    labels = subject.train_labels.repeat(len(features))
    probe = fit_linear(torch.cat(features), labels, subject.config.l2)
    right = accuracy(probe.predict(subject.test_features), subject.test_labels)
    return Measured({"augmented_accuracy": right})
