"""The recipe: from uint8 images to normalised views."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fedssl.views.color import brightness_, contrast_, gray, hue_, saturation_, solarize_
from fedssl.views.config import ViewsConfig
from fedssl.views.draw import Parameters, draw
from fedssl.views.resample import blur_kernel_size, blur_weights, crop, crop_places, resample

CHUNK = 3 * 32 * 32 * 128
"""Values that a CPU works on at a time, so that all passes over them stay in its cache."""


class Views:
    """One random view of each image: crop, flip, jitter, grey, blur, solarise, normalise.

    The definitions are torchvision's, with two differences: all images of a batch go through at
    once, each with parameters of its own, and the jitter has one order (brightness, contrast,
    saturation, hue) where torchvision draws one.

    Parameters
    ----------
    config : ViewsConfig
        The ``views`` section.
    mean, std : Sequence[float]
        Constants for images in [0, 1], one for each channel or one for all: a view is
        (image − mean) / std.
    """

    def __init__(self, config: ViewsConfig, mean: Sequence[float], std: Sequence[float]):
        self.config = config
        self.scale = 1 / torch.tensor(std)[:, None, None]
        self.bias = -torch.tensor(mean)[:, None, None] * self.scale

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return one view of each image.

        Parameters
        ----------
        images : Tensor
            uint8 [B, 3, H, W].
        generator : torch.Generator
            On the CPU, whatever the images' device: so every device sees the same parameters.
            Two batches drawn after one another get the parameters of the one batch they make.

        Returns
        -------
        Tensor
            float32 [B, 3, H, W] on the images' device.

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
        parameters = draw(self.config, count, (height, width), generator)
        scale, bias = self.scale.to(images.device), self.bias.to(images.device)
        views = torch.empty(images.shape, device=images.device)
        chunk = max(1, CHUNK // images[0].numel()) if images.device.type == "cpu" else count
        for start in range(0, count, chunk):
            stop = min(start + chunk, count)
            view = self._augment(images[start:stop], parameters.take(start, stop))
            torch.mul(view, scale, out=views[start:stop]).add_(bias)
        return views

    def _augment(self, images: Tensor, drawn: Parameters) -> Tensor:
        """Return views in [0, 1] of uint8 images."""
        device = images.device
        _, _, height, width = images.shape
        rows = crop_places(drawn.top.to(device), drawn.height.to(device), height)
        left, length = drawn.left.to(device), drawn.width.to(device)
        columns = crop_places(left, length, width, mirror=drawn.flip.to(device))
        views = crop(images, rows, columns)
        self._change(views, drawn.jitter, lambda chosen, at: self._jitter(chosen, drawn, at))
        self._change(views, drawn.grayscale, lambda chosen, _: gray(chosen).expand_as(chosen))
        self._change(views, drawn.blur, lambda chosen, at: self._blur(chosen, drawn.sigma[at]))
        self._change(views, drawn.solarize, lambda chosen, _: solarize_(chosen))
        return views

    @staticmethod
    def _change(images: Tensor, mask: Tensor, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Put ``how(chosen images, their rows)`` in the place of the images that are chosen."""
        rows = mask.nonzero().squeeze(1)
        if len(rows) > 0:
            at = rows.to(images.device)
            images.index_copy_(0, at, how(images.index_select(0, at), rows))

    def _jitter(self, images: Tensor, drawn: Parameters, rows: Tensor) -> Tensor:
        device = images.device
        if self.config.brightness > 0:
            brightness_(images, drawn.brightness[rows].to(device))
        if self.config.contrast > 0:
            contrast_(images, drawn.contrast[rows].to(device))
        if self.config.saturation > 0:
            saturation_(images, drawn.saturation[rows].to(device))
        if self.config.hue > 0:
            hue_(images, drawn.hue[rows].to(device))
        return images

    @staticmethod
    def _blur(images: Tensor, sigma: Tensor) -> Tensor:
        size = (images.shape[2], images.shape[3])
        kernel_size = blur_kernel_size(size)
        rows, columns = (blur_weights(sigma.to(images.device), kernel_size, n) for n in size)
        return resample(images, rows, columns)
