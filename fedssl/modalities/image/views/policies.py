"""The view policies of images: lists of steps, some of them known by name."""

from fedssl.modalities.image.views.changes import Blur, Flip, Grayscale, Jitter, Solarize
from fedssl.modalities.image.views.crops import BoundedCrop, Crop, SaliencyCrop
from fedssl.modalities.image.views.styles import BatchStyles
from fedssl.views.policy import NamedPolicy
from fedssl.views.step import Step

STEPS: tuple[type[Step], ...] = (
    Crop,
    BoundedCrop,
    SaliencyCrop,
    Flip,
    Jitter,
    Grayscale,
    Blur,
    Solarize,
    BatchStyles,
)

Steps = tuple[Step, ...]

_COLOURS: Steps = (Flip(), Jitter(), Grayscale())

POLICIES: dict[str, NamedPolicy] = {
    "simclr": NamedPolicy(
        "SimCLR's recipe for small images: crop, flip, colour jitter, grey; the default.",
        (Crop(), *_COLOURS),
    ),
    "byol": NamedPolicy(
        "BYOL's unlike views: the first always blurred, the others solarised at times.",
        # Crops as small as published, 0.08, are 9 pixels wide in an image of 32.
        (
            Crop(),
            Flip(),
            Jitter(saturation=0.2),
            Grayscale(),
            Blur(probability=1.0, last_view=1),
            Blur(probability=0.1, first_view=2),
            Solarize(probability=0.2, first_view=2),
        ),
    ),
    "multi-crop": NamedPolicy(
        "Two large views, and all further ones small in content and size: for many views.",
        # DINO's shares, but for its smallest crops, 0.05: 7 pixels wide in an image of 32.
        (
            Crop(scale=(0.4, 1.0), last_view=2),
            Crop(scale=(0.1, 0.4), side=0.5, first_view=3),
            *_COLOURS,
        ),
    ),
    "weak": NamedPolicy(
        "ReSSL's weak views, crop and flip alone: where colours say what an image shows.",
        (Crop(), Flip()),
    ),
    "bounded-crop": NamedPolicy(
        "SimCLR's, with crops near the middle: views that keep the object, and so the label.",
        (BoundedCrop(), *_COLOURS),
    ),
    "saliency-crop": NamedPolicy(
        "SimCLR's, with crops around what stands out: one object before a background.",
        (SaliencyCrop(), *_COLOURS),
    ),
    "batch-styles": NamedPolicy(
        "SimCLR's, each batch in the style of one of its images: clients with several styles.",
        (BatchStyles(), Crop(), *_COLOURS),
    ),
}
"""By name: when to use it, and its steps."""
