"""Blocks and position encodings of transformers."""

import math

import torch
from torch import Tensor, nn


def sinusoidal_encodings(positions: Tensor, width: int) -> Tensor:
    """Return sinusoidal encodings [T, width] of positions in one dimension or more.

    The sine and the cosine of each coordinate have equal parts of the width, at frequencies
    10000^{−k/K} for k < K = width / 2n. So no position is trained, and examples have any size.

    Parameters
    ----------
    positions : Tensor
        The n coordinates of T positions, int64 [T, n].
    width : int
        The width of an encoding, a multiple of 2n.

    Raises
    ------
    ValueError
        The width is not a multiple of 2n.

    Examples
    --------
    >>> sinusoidal_encodings(torch.arange(3)[:, None], 8).shape
    torch.Size([3, 8])
    """
    step = 2 * positions.shape[1]
    if width % step:
        raise ValueError(f"a transformer's width must be a multiple of {step}, not {width}")
    frequencies = torch.exp(-math.log(10_000) * torch.arange(0, width, step) / width)
    angles = (positions.unsqueeze(2) * frequencies).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def transformer_blocks(width: int, depth: int, heads: int) -> nn.TransformerEncoder:
    """Build transformer blocks with pre-normalisation, GELU, 4·width and a last normalisation.

    They have no dropout, which would draw from torch's global generator.
    """

    def layer() -> nn.TransformerEncoderLayer:
        return nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )

    encoder = nn.TransformerEncoder(layer(), depth, nn.LayerNorm(width), enable_nested_tensor=False)
    # The class copies one layer; these layers have different initial weights.
    encoder.layers = nn.ModuleList(layer() for _ in range(depth))
    return encoder
