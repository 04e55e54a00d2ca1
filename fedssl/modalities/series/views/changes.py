"""The steps of a series' view policy: what is not there before a step (NaN) is not there after."""

import math
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.modalities.series.absence import lengths
from fedssl.views.recipe import Change
from fedssl.views.step import Probability, Range, ascending, between

SPANS = 3
"""In how many spans steps are masked."""
KNOTS = 5
"""At how many places of a series a warp's speed is drawn."""
_MOST = 1 - 2**-24
"""The greatest number below 1 in float32."""

Below = Annotated[Number, Field(ge=0, lt=1)]


class Crop(Change):
    """Keep a window, moved to the front; the rest is not there. Nothing is stretched.

    So frequencies stay what they are. The window's length is a share, drawn uniformly, of the
    series' own length: what fills it up at the end does not count.
    """

    name: Literal["crop"] = "crop"
    """A window anywhere in the series."""
    scale: Range = (0.5, 1.0)
    """Least and greatest share of the series' length that a window has, at most 1."""

    rank: ClassVar[int] = 1
    draws: ClassVar[int] = 2

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        ascending("scale", self.scale)
        if self.scale[1] > 1:
            raise ValueError(f"scale = {list(self.scale)}: a window covers at most 1")
        return self

    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        """Return the windows, [B, C, T] like the series."""
        share, place = uniform.to(examples.device).unbind(1)
        whole = lengths(examples)
        kept = (between(share, *self.scale) * whole).round().clamp(min=1).minimum(whole)
        start = (place * (whole - kept + 1)).floor().minimum(whole - kept)
        steps = torch.arange(examples.shape[2], device=examples.device)
        source = (start[:, None] + steps).clamp(max=examples.shape[2] - 1).long()
        window = examples.gather(2, source[:, None].expand_as(examples))
        return window.masked_fill_((steps >= kept[:, None])[:, None], torch.nan)


class Jitter(Change):
    """Add noise to every value."""

    name: Literal["jitter"] = "jitter"
    """Gaussian noise."""
    sigma: Annotated[Number, Field(ge=0)] = 0.3
    """The noise's standard deviation, in units of ``data.std``."""

    def draws_of(self, shape: tuple[int, ...]) -> int:
        """Return one number for each value."""
        return math.prod(shape)

    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        """Return the series with noise."""
        normal = math.sqrt(2) * torch.erfinv((2 * uniform - 1).clamp(min=-_MOST))
        return examples.add_(normal.to(examples.device).view_as(examples), alpha=self.sigma)


class Scaling(Change):
    """Multiply each channel by a factor of its own."""

    name: Literal["scaling"] = "scaling"
    """Another strength of each channel."""
    strength: Below = 0.5
    """s: the factors are uniform in [1 − s, 1 + s]."""

    def draws_of(self, shape: tuple[int, ...]) -> int:
        """Return one number for each channel."""
        return shape[0]

    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        """Return the scaled series."""
        factors = between(uniform, 1 - self.strength, 1 + self.strength)
        return examples.mul_(factors.to(examples.device).unsqueeze(2))


class TimeWarp(Change):
    """Let time go slower here and faster there: first step and last stay where they are.

    The speed is drawn at five places of the series' own length, and linear between them; values are
    interpolated linearly, and are not there where one of the two next to them is not.
    """

    name: Literal["time-warp"] = "time-warp"
    """A smooth change of speed."""
    speed: Annotated[Number, Field(ge=1, le=10)] = 1.5
    """v: relative speeds are log-uniform in [1/v, v]."""

    draws: ClassVar[int] = KNOTS

    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        """Return the warped series."""
        total = examples.shape[2]
        last = (lengths(examples) - 1).clamp(min=0)[:, None]
        steps = torch.arange(total, device=examples.device)
        log = math.log(self.speed)
        speeds = between(uniform.to(examples.device), -log, log).exp()
        # The speed half-way between each step and the next.
        knots = ((steps + 0.5) / last.clamp(min=1)).clamp(max=1) * (KNOTS - 1)
        speed = _between_neighbours(speeds[:, None], knots)[:, 0]
        gone = torch.cat([torch.zeros_like(speed[:, :1]), speed[:, :-1].cumsum(1)], 1)
        full = gone.gather(1, last).clamp(min=1e-6)
        places = torch.where(steps < last, gone / full * last, steps).minimum(steps.max())
        return _between_neighbours(examples, places)


def _between_neighbours(values: Tensor, places: Tensor) -> Tensor:
    """Return values [B, C, T] at places [B, S] in [0, T − 1], interpolated linearly: [B, C, S]."""
    before = places.floor()
    share = (places - before)[:, None]
    left = before.long()[:, None].expand(-1, values.shape[1], -1)
    right = (left + 1).clamp(max=values.shape[2] - 1)
    at_left = values.gather(2, left)
    # A neighbour of no weight may be NaN.
    return torch.where(share > 0, torch.lerp(at_left, values.gather(2, right), share), at_left)


class Mask(Change):
    """Take some steps away, in three spans that may overlap: they are not there."""

    name: Literal["mask"] = "mask"
    """Spans of steps that are not there."""
    share: Below = 0.25
    """The share of the series' length that is masked, at most."""

    draws: ClassVar[int] = SPANS

    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        """Return the series without those steps."""
        whole = lengths(examples)[:, None]
        span = (self.share * whole / SPANS).floor()
        starts = (uniform.to(examples.device) * (whole - span + 1)).floor().minimum(whole - span)
        steps = torch.arange(examples.shape[2], device=examples.device)
        after = steps - starts[:, :, None]
        hidden = ((after >= 0) & (after < span[:, :, None])).any(1, keepdim=True)
        return examples.masked_fill_(hidden, torch.nan)


class ChannelDropout(Change):
    """Take whole channels away, each with a probability, but never all of them."""

    name: Literal["channel-dropout"] = "channel-dropout"
    """Channels that are not there."""
    probability: Probability = 0.2
    """The probability that a channel is not there."""

    def draws_of(self, shape: tuple[int, ...]) -> int:
        """Return one number for each channel, and one for which stays if none would."""
        return shape[0] + 1

    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        """Return the series without those channels."""
        channels = examples.shape[1]
        gone = uniform[:, :-1] < self.probability
        stays = (uniform[:, -1:] * channels).long().clamp(max=channels - 1)
        gone &= ~(gone.all(1, keepdim=True) & (torch.arange(channels) == stays))
        return examples.masked_fill_(gone.to(examples.device).unsqueeze(2), torch.nan)
