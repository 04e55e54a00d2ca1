"""A small vision transformer, whose encoder can be shown some of an image's patches alone."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def positions_2d(rows: int, columns: int, width: int) -> Tensor:
    """Return sinusoidal encodings [rows · columns, width] of the places of a grid, row by row.

    A quarter of the width each for the sine and the cosine of the row and of the column, at
    frequencies 10000^{−4k/width}: so an image of any size has them, and nothing is trained.

    Raises
    ------
    ValueError
        The width is not a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"a transformer's width must be a multiple of 4, not {width}")
    frequencies = torch.exp(-math.log(10_000) * torch.arange(0, width, 4) / width)
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).view(-1, 2, 1)
    angles = (places * frequencies).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def blocks(width: int, depth: int, heads: int) -> nn.TransformerEncoder:
    """Build transformer blocks: normalised first, GELU, 4·width inside, a last normalisation.

    Without dropout, which would draw from the global generator.
    """

    def layer() -> nn.TransformerEncoderLayer:
        return nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )

    made = nn.TransformerEncoder(layer(), depth, nn.LayerNorm(width), enable_nested_tensor=False)
    # It copies its layer; these start with weights of their own.
    made.layers = nn.ModuleList(layer() for _ in range(depth))
    return made


class VisionTransformer(nn.Module):
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
        self.patch, self.features = patch, width
        self.embed = nn.Linear(3 * patch**2, width)
        self.blocks = blocks(width, depth, heads)

    def patches(self, images: Tensor) -> Tensor:
        """Cut images [B, 3, H, W] into patches [B, T, 3·patch²], row by row.

        Raises
        ------
        ValueError
            The images are smaller than a patch.
        """
        if min(self.grid(images)) == 0:
            raise ValueError(
                f"images of {images.shape[2]}×{images.shape[3]} pixels are smaller than a patch of "
                f"{self.patch}×{self.patch}"
            )
        return F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return how many rows and columns of patches images [B, 3, H, W] have."""
        return images.shape[2] // self.patch, images.shape[3] // self.patch

    def tokens(self, images: Tensor, shown: Tensor | None = None) -> Tensor:
        """Return the last block's tokens, normalised.

        Parameters
        ----------
        images : Tensor
            float32 [B, 3, H, W].
        shown : Tensor | None
            int64 [B, S]: the patches of each image that are shown; None for all T.

        Returns
        -------
        Tensor
            [B, S, D], or [B, T, D].
        """
        places = positions_2d(*self.grid(images), self.features).to(images.device)
        tokens = self.embed(self.patches(images)) + places
        if shown is not None:
            tokens = tokens.gather(1, shown.unsqueeze(2).expand(-1, -1, self.features))
        out: Tensor = self.blocks(tokens)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, D] of images [B, 3, H, W], H and W at least a patch."""
        return self.tokens(images).mean(1)
