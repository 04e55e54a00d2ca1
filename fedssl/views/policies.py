"""View policies: lists of steps, some of them known by name."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from fedssl.fields import Choice, nearest
from fedssl.views.changes import Blur, Flip, Grayscale, Jitter, Solarize
from fedssl.views.crops import BoundedCrop, Crop, SaliencyCrop
from fedssl.views.step import Step
from fedssl.views.styles import BatchStyles

STEPS: dict[str, type[Step]] = {
    "crop": Crop,
    "bounded-crop": BoundedCrop,
    "saliency-crop": SaliencyCrop,
    "flip": Flip,
    "jitter": Jitter,
    "grayscale": Grayscale,
    "blur": Blur,
    "solarize": Solarize,
    "batch-styles": BatchStyles,
}

Steps = tuple[Step, ...]

_COLOURS: Steps = (Flip(), Jitter(), Grayscale())

POLICIES: dict[str, tuple[str, Steps]] = {
    "simclr": (
        "SimCLR's recipe for small images: crop, flip, colour jitter, grey; the default.",
        (Crop(), *_COLOURS),
    ),
    "byol": (
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
    "multi-crop": (
        "Two large views, and all further ones small in content and size: for many views.",
        # DINO's shares, but for its smallest crops, 0.05: 7 pixels wide in an image of 32.
        (
            Crop(scale=(0.4, 1.0), last_view=2),
            Crop(scale=(0.1, 0.4), side=0.5, first_view=3),
            *_COLOURS,
        ),
    ),
    "weak": (
        "ReSSL's weak views, crop and flip alone: where colours say what an image shows.",
        (Crop(), Flip()),
    ),
    "bounded-crop": (
        "SimCLR's, with crops near the middle: views that keep the object, and so the label.",
        (BoundedCrop(), *_COLOURS),
    ),
    "saliency-crop": (
        "SimCLR's, with crops around what stands out: one object before a background.",
        (SaliencyCrop(), *_COLOURS),
    ),
    "batch-styles": (
        "SimCLR's, each batch in the style of one of its images: clients with several styles.",
        (BatchStyles(), Crop(), *_COLOURS),
    ),
}
"""By name: when to use it, and its steps."""


def _steps(value: Any) -> Any:
    if isinstance(value, str):
        if value not in POLICIES:
            raise ValueError(f"there is no such policy; {nearest(value, list(POLICIES))}")
        return POLICIES[value][1]
    return tuple(value) if isinstance(value, list) else value


def _in_order(steps: Steps) -> Steps:
    for before, after in pairwise(steps):
        if before.rank > after.rank:
            raise ValueError(
                f"{after.name} comes after {before.name}: put batch-styles first, then crops, then "
                "all else"
            )
    for place, step in enumerate(steps):
        for other in steps[:place]:
            # Each once for a view: a crop of a crop would be another crop.
            once = step.rank < 2 and step.rank == other.rank
            if once and any(step.is_for(v) and other.is_for(v) for v in _begins(step, other)):
                raise ValueError(
                    f"{other.name} and {step.name} are for the same view: give them first_view and "
                    "last_view, or leave one out"
                )
    return steps


def _begins(*steps: Step) -> Iterable[int]:
    """Return the views that any of these begin with: if two share a view, they share one of it."""
    return (step.first_view for step in steps)


_Listed = tuple[Annotated[Step, Choice(STEPS)], ...]
_Named = Annotated[str, WithJsonSchema({"type": "string", "enum": list(POLICIES)})]

Policy = Annotated[
    _Listed,
    BeforeValidator(_steps, json_schema_input_type=_Listed | _Named),
    AfterValidator(_in_order),
]
"""The ``views`` section: a list of steps, or the name of one of `POLICIES`."""
