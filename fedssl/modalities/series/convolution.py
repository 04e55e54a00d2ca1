"""A small convolutional network for series."""

from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.series.absence import steps_there
from fedssl.networks.encoder import EncoderConfig


class Conv1dNet(nn.Module):
    """Four convolutions over time, 0.10 M parameters: for CPUs, and the usual choice.

    Its features are the mean of the last one's maps over the steps.
    What is not there (NaN) is 0 for the first convolution, the mean of standardised series, and
    steps that are not there are 0 after each layer and left out of all means: so a series has the
    same features however it is filled up.
    """

    class Config(EncoderConfig):
        """The ``model.encoder`` section of the small convolutional network."""

        name: Literal["conv1d"] = "conv1d"
        """Four convolutions over time."""
        width: int = Field(32, ge=1, le=4096)
        """The channels of the first layer; the next have two, four and four times as many."""

    def __init__(self, config: Config, spec: ExampleSpec):
        super().__init__()
        width = config.width
        self.features = 4 * width
        widths = [spec.shape[0], width, 2 * width, 4 * width, 4 * width]
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for (before, after), kernel in zip(pairwise(widths), (7, 5, 5, 3), strict=True):
            self.convolutions.append(
                nn.Conv1d(before, after, kernel, padding=kernel // 2, bias=False)
            )
            self.norms.append(nn.BatchNorm1d(after))

    def forward(self, series: Tensor) -> Tensor:
        """Return features [B, ``features``] of series [B, C, T]."""
        there = steps_there(series)
        maps = series.nan_to_num(0.0)
        for place, (convolve, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            maps = _of_steps(norm, convolve(maps), there, training=self.training)
            maps = F.relu(maps) * there.unsqueeze(1)
            if place < 3:
                # Nothing is negative, so a step that is not there takes no maximum.
                maps = F.max_pool1d(maps, 2, ceil_mode=True)
                there = F.max_pool1d(there.to(maps.dtype), 2, ceil_mode=True) > 0
        count = there.sum(1, keepdim=True).clamp(min=1)
        features: Tensor = maps.sum(2) / count
        return features


def _of_steps(norm: nn.Module, maps: Tensor, there: Tensor, *, training: bool) -> Tensor:
    """Normalise maps [B, C, T], each step an example of its own.

    So a batch's statistics are those of the steps that are there, and a GroupNorm in BatchNorm's
    place knows no other step.
    """
    steps = maps.transpose(1, 2)
    if training and 1 < int(there.sum()) < there.numel():
        normed = norm(steps[there])
        steps = normed.new_zeros(steps.shape).index_put((there,), normed)
    else:
        steps = norm(steps.flatten(0, 1)).unflatten(0, there.shape)
    back: Tensor = steps.transpose(1, 2)
    return back
