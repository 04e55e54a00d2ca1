"""The view policies of series: lists of steps, some of them known by name."""

from fedssl.modalities.series.views.changes import (
    ChannelDropout,
    Crop,
    Jitter,
    Mask,
    Scaling,
    TimeWarp,
)
from fedssl.modalities.series.views.frame import Frame
from fedssl.views.policy import NamedPolicy
from fedssl.views.step import Step

STEPS: tuple[type[Step], ...] = (
    Crop,
    Jitter,
    Scaling,
    TimeWarp,
    Mask,
    ChannelDropout,
    Frame,
)

POLICIES: dict[str, NamedPolicy] = {
    "simclr": NamedPolicy(
        "The usual for sensors: a window, fewer channels, other strengths, noise; the default.",
        (Crop(), ChannelDropout(), Scaling(), Jitter()),
    ),
    "weak": NamedPolicy(
        "A window of most of the series alone: where strength and noise say what a series is.",
        (Crop(scale=(0.8, 1.0)),),
    ),
    "frames": NamedPolicy(
        "No augmentation: the series and its Fourier coefficients, and Gabor's as a third view.",
        (
            Frame(basis="fourier", first_view=2, last_view=2),
            Frame(basis="gabor", first_view=3),
        ),
    ),
}
"""By name: when to use it, and its steps."""
