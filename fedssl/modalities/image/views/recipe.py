"""From uint8 images to normalised views, by a policy's steps."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.image.views.changes import Change, Flip
from fedssl.modalities.image.views.crops import CropStep
from fedssl.modalities.image.views.resample import crop, crop_places, shrink
from fedssl.modalities.image.views.step import ImageStep
from fedssl.modalities.image.views.styles import BatchStyles
from fedssl.views.drawing import draw_uniform
from fedssl.views.step import Step

CHUNK = 3 * 32 * 32 * 128
"""Values that a CPU works on at a time, so that all passes over them stay in its cache."""

Work = Sequence[tuple[ImageStep, Tensor]]
"""Steps, and the parameters [B, …] of each."""


class Views:
    """One random view of each image: a policy's steps, then normalised.

    The definitions are torchvision's, with two differences: all images of a batch go through at
    once, each with parameters of its own, and the jitter has one order (brightness, contrast,
    saturation, hue) where torchvision draws one.

    Parameters
    ----------
    policy : Sequence[Step]
        The ``views`` section.
    mean, std : Sequence[float]
        Constants for images in [0, 1], one for each channel or one for all: a view is
        (image − mean) / std.

    Raises
    ------
    ValueError
        A step is of no kind that is known here.
    """

    def __init__(self, policy: Sequence[Step], mean: Sequence[float], std: Sequence[float]):
        for step in policy:
            if not isinstance(step, (BatchStyles, CropStep, Change)):
                raise ValueError(
                    f"views: {step.name} changes nothing: make it a subclass of "
                    f"{Change.__module__}.Change or {CropStep.__module__}.CropStep"
                )
        self.policy = cast(tuple[ImageStep, ...], tuple(policy))
        self.scale = 1 / torch.tensor(std)[:, None, None]
        self.bias = -torch.tensor(mean)[:, None, None] * self.scale

    def spec_of(self, spec: ExampleSpec, view: int) -> ExampleSpec:
        """Return what a view of this number is, of what stored images are."""
        channels, height, width = spec.shape
        shape = (channels, *self._size_of((height, width), view))
        return ExampleSpec(spec.modality, shape, "float32")

    def _size_of(self, size: tuple[int, int], view: int) -> tuple[int, int]:
        """Return height and width of an image's view of this number, of those of the image."""
        crops = (step for step in self.policy if isinstance(step, CropStep) and step.is_for(view))
        return next((step.size_of(size) for step in crops), size)

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator, view: int = 1) -> Tensor:
        """Return one view of each image.

        Parameters
        ----------
        images : Tensor
            uint8 [B, 3, H, W].
        generator : torch.Generator
            On the CPU, whatever the images' device: so every device sees the same parameters.
            Two batches drawn after one another get the parameters of the one batch they make, but
            for the style of `BatchStyles`.
        view : int (default: 1)
            Which of the images' views, from 1: some steps are for some of them only.

        Returns
        -------
        Tensor
            float32 [B, 3, H', W'] on the images' device, of the size that `spec_of` says.

        Raises
        ------
        ValueError
            The images are not uint8 or do not have three channels.
        """
        if images.dtype != torch.uint8 or images.shape[1] != 3:
            raise ValueError(
                f"images are {images.dtype} with {images.shape[1]} channel(s): views are made of "
                "uint8 images with 3"
            )
        count, _, height, width = images.shape
        size = (height, width)
        work = self._draw(count, size, generator, view)
        style = None
        if work and isinstance(styles := work[0][0], BatchStyles):
            style = styles.style(images, work[0][1])
        scale, bias = self.scale.to(images.device), self.bias.to(images.device)
        views = torch.empty((count, 3, *self._size_of(size, view)), device=images.device)
        chunk = max(1, CHUNK // images[0].numel()) if images.device.type == "cpu" else count
        for start in range(0, count, chunk):
            stop = min(start + chunk, count)
            part = [(step, drawn[start:stop]) for step, drawn in work]
            made = _make(images[start:stop], part, style)
            torch.mul(made, scale, out=views[start:stop]).add_(bias)
        return views

    def _draw(
        self, count: int, size: tuple[int, int], generator: torch.Generator, view: int
    ) -> Work:
        steps = [step for step in self.policy if step.is_for(view)]
        parts = draw_uniform(count, [step.draws for step in steps], generator)
        return [(step, step.draw(part, size)) for step, part in zip(steps, parts, strict=True)]


def _make(images: Tensor, work: Work, style: tuple[Tensor, float] | None) -> Tensor:
    """Return views in [0, 1] of uint8 images."""
    left = list(work)
    if style is not None and isinstance(styles := left[0][0], BatchStyles):
        images = styles.apply(images, style)
        left = left[1:]
    if left and isinstance(cropping := left[0][0], CropStep):
        mirror = None
        boxes = cropping.boxes(images, left[0][1])
        left = left[1:]
        # A flip next to a crop costs nothing: it looks at the same places in another order.
        if left and isinstance(left[0][0], Flip):
            mirror = left[0][1][:, 0].to(images.device, torch.bool)
            left = left[1:]
        images = _crop(images, boxes, cropping.size_of((images.shape[2], images.shape[3])), mirror)
    elif images.dtype == torch.uint8:
        images = images.mul(1 / 255)
    for step, drawn in left:
        if isinstance(step, Change):
            step.apply(images, drawn)
    return images


def _crop(images: Tensor, boxes: Tensor, size: tuple[int, int], mirror: Tensor | None) -> Tensor:
    top, left, height, width = boxes.unbind(1)
    if size != tuple(images.shape[2:]):
        return shrink(images, boxes, size, mirror)
    rows, columns = crop_places(top, height, size[0]), crop_places(left, width, size[1], mirror)
    return crop(images, rows, columns)
