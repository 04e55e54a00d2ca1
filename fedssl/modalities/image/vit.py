"""A small vision transformer, whose encoder can be shown some of an image's patches alone."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.image.stem import Stem, is_small
from fedssl.networks.encoder import EncoderConfig, MaskableEncoder
from fedssl.networks.transformer import sinusoidal_encodings, transformer_blocks


def positions_2d(rows: int, columns: int, width: int) -> Tensor:
    """Return sinusoidal encodings [rows · columns, width] of the places of a grid, row by row.

    A quarter of the width each for the sine and the cosine of the row and of the column; see
    `sinusoidal_encodings`. A ValueError says that the width is not a multiple of 4.
    """
    return sinusoidal_encodings(
        torch.cartesian_prod(torch.arange(rows), torch.arange(columns)), width
    )


class VisionTransformer(MaskableEncoder):
    """A vision transformer (Dosovitskiy et al., 2021); its features are its tokens' mean.

    Parameters
    ----------
    patch : int
        The side of a patch in pixels. Pixels at the right and below that fill no patch are not
        looked at.
    width : int
        The tokens' width D, a multiple of 4 and of ``heads``.
    depth, heads : int
        The number of blocks, and of attention heads in each.
    """

    def __init__(self, patch: int, width: int = 192, depth: int = 12, heads: int = 3):
        super().__init__()
        self.patch, self.features, self.values_per_patch = patch, width, 3 * patch**2
        self.embed = nn.Linear(self.values_per_patch, width)
        self.blocks = transformer_blocks(width, depth, heads)

    def patches(self, examples: Tensor) -> Tensor:
        """Cut images [B, 3, H, W] into patches [B, T, 3·patch²], row by row.

        Raises
        ------
        ValueError
            The images are smaller than a patch.
        """
        if min(self.grid(examples)) == 0:
            raise ValueError(
                f"images of {examples.shape[2]}×{examples.shape[3]} pixels are smaller than a "
                f"patch of {self.patch}×{self.patch}"
            )
        return F.unfold(examples, self.patch, stride=self.patch).transpose(1, 2)

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return how many rows and columns of patches images [B, 3, H, W] have."""
        return images.shape[2] // self.patch, images.shape[3] // self.patch

    def position_encodings(self, examples: Tensor, width: int) -> Tensor:
        """Return encodings [T, width] of the places of the images' patches."""
        return positions_2d(*self.grid(examples), width)

    def tokens(self, examples: Tensor, shown: Tensor | None = None) -> Tensor:
        """Return the last block's tokens, normalised.

        Parameters
        ----------
        examples : Tensor
            Images, float32 [B, 3, H, W].
        shown : Tensor | None
            int64 [B, S]: the patches of each image that are shown; None for all T.

        Returns
        -------
        Tensor
            [B, S, D], or [B, T, D].
        """
        places = self.position_encodings(examples, self.features).to(examples.device)
        tokens = self.embed(self.patches(examples)) + places
        if shown is not None:
            tokens = tokens.gather(1, shown.unsqueeze(2).expand(-1, -1, self.features))
        out: Tensor = self.blocks(tokens)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, D] of images [B, 3, H, W], H and W at least a patch."""
        return self.tokens(images).mean(1)


class ViTTiny(VisionTransformer):
    """5.4 M parameters, a transformer without BatchNorm: for mae and dino, and many images."""

    class Config(EncoderConfig):
        """The ``model.encoder`` section of the tiny vision transformer."""

        name: Literal["vit-tiny"] = "vit-tiny"
        """A tiny vision transformer."""
        stem: Stem = "auto"
        """cifar: patches of 4 pixels a side; imagenet: of 16; auto: of 4 up to 64 pixels a side."""

    def __init__(self, config: Config, spec: ExampleSpec):
        super().__init__(4 if is_small(config.stem, spec) else 16)
