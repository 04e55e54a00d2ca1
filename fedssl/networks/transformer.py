"""What transformers are made of: blocks, and encodings of places."""

import math

import torch
from torch import Tensor, nn


def sinusoids(places: Tensor, width: int) -> Tensor:
    """Return sinusoidal encodings [T, width] of places in one dimension or more.

    An equal part of the width for the sine and the cosine of each coordinate, at frequencies
    10000^{−k/K} for k < K = width / 2n: so examples of any size have them, and nothing is trained.

    Parameters
    ----------
    places : Tensor
        int64 [T, n]: the n coordinates of T places.
    width : int
        A multiple of 2n.

    Raises
    ------
    ValueError
        The width is no multiple of 2n.
    """
    step = 2 * places.shape[1]
    if width % step:
        raise ValueError(f"a transformer's width must be a multiple of {step}, not {width}")
    frequencies = torch.exp(-math.log(10_000) * torch.arange(0, width, step) / width)
    angles = (places.unsqueeze(2) * frequencies).flatten(1)
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
