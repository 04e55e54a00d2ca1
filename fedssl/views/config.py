"""The config of the random augmentations."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from fedssl.fields import Fields, Listed, Number

Probability = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0)]


class ViewsConfig(Fields):
    """The ``views`` section: SimCLR's recipe for small images, in the order of the fields."""

    crop_scale: Annotated[tuple[Positive, Positive], Listed] = (0.2, 1.0)
    """Least and greatest share of the image's area that a crop covers, at most 1."""
    crop_ratio: Annotated[tuple[Positive, Positive], Listed] = (0.75, 1.3333)
    """Least and greatest ratio of a crop's width to its height."""
    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    jitter: Probability = 0.8
    """Probability of the colour jitter: brightness, contrast, saturation, hue, in this order."""
    brightness: Probability = 0.4
    """b: the brightness is multiplied by a factor from [1 − b, 1 + b]."""
    contrast: Probability = 0.4
    """c: the contrast is multiplied by a factor from [1 − c, 1 + c]."""
    saturation: Probability = 0.4
    """s: the saturation is multiplied by a factor from [1 − s, 1 + s]."""
    hue: Annotated[Number, Field(ge=0, le=0.5)] = 0.1
    """h: the hue turns by a share of the colour circle from [−h, h], at most 0.5."""
    grayscale: Probability = 0.2
    """Probability of taking the colour away."""
    blur: Probability = 0.0
    """Probability of a Gaussian blur, its kernel a tenth of the image wide, at least 3 pixels."""
    blur_sigma: Annotated[tuple[Positive, Positive], Listed] = (0.1, 2.0)
    """Least and greatest standard deviation of the blur, in pixels."""
    solarize: Probability = 0.0
    """Probability of inverting all values of at least half the brightest."""

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} = [{low}, {high}]: put the smaller number first")
        if self.crop_scale[1] > 1:
            raise ValueError(f"crop_scale = {list(self.crop_scale)}: a crop covers at most 1")
        return self
