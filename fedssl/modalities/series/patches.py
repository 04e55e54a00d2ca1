"""A small transformer on patches of series, which can be shown some of the patches alone."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.data.example_spec import ExampleSpec
from fedssl.networks.encoder import EncoderConfig, MaskableEncoder
from fedssl.networks.transformer import sinusoidal_encodings, transformer_blocks


class PatchTransformer(MaskableEncoder):
    """A transformer on runs of steps; its features are the mean of its tokens that are there.

    What is not there (NaN) is 0 in a patch that has other values, and a patch without any is left
    out of attention and mean: so a series has the same features however it is filled up.

    Parameters
    ----------
    channels : int
        C of the series.
    patch : int
        The steps of a patch; the last is filled up with NaN.
    width : int
        The tokens' width D, a multiple of 2 and of ``heads``.
    depth, heads : int
        The number of blocks, and of attention heads in each.

    After Nie et al., "A Time Series is Worth 64 Words: Long-term Forecasting with Transformers",
    ICLR 2023, who take each channel by itself; here a patch has all channels.
    """

    def __init__(
        self, channels: int, patch: int = 8, width: int = 96, depth: int = 4, heads: int = 3
    ):
        super().__init__()
        self.patch, self.features, self.values_per_patch = patch, width, channels * patch
        self.embed = nn.Linear(self.values_per_patch, width)
        self.blocks = transformer_blocks(width, depth, heads)

    def patches(self, examples: Tensor) -> Tensor:
        """Cut series [B, C, T] into patches [B, ⌈T / patch⌉, C·patch], with NaN as it is there."""
        padded = F.pad(examples, (0, -examples.shape[2] % self.patch), value=torch.nan)
        return padded.unfold(2, self.patch, self.patch).transpose(1, 2).flatten(2)

    def observed_patches(self, examples: Tensor) -> Tensor:
        """Tell which patches have a value: bool [B, T]."""
        return ~self.patches(examples).isnan().all(2)

    def position_encodings(self, examples: Tensor, width: int) -> Tensor:
        """Return encodings [T, width] of the places of the series' patches."""
        count = -(-examples.shape[2] // self.patch)
        return sinusoidal_encodings(torch.arange(count)[:, None], width)

    def tokens(self, examples: Tensor, shown: Tensor | None = None) -> Tensor:
        """Return the last block's tokens, normalised.

        Parameters
        ----------
        examples : Tensor
            Series, float32 [B, C, T].
        shown : Tensor | None
            int64 [B, S]: the patches of each series that are shown; None for all.

        Returns
        -------
        Tensor
            [B, S, D], or one for every patch.
        """
        patches, there = self.patches(examples), self.observed_patches(examples)
        places = self.position_encodings(examples, self.features).to(examples.device)
        tokens = self.embed(patches.nan_to_num(0.0)) + places
        if shown is not None:
            tokens = tokens.gather(1, shown.unsqueeze(2).expand(-1, -1, self.features))
            there = there.gather(1, shown)
        # Where nothing is there, everything is looked at: a softmax over nothing is NaN.
        out: Tensor = self.blocks(tokens, src_key_padding_mask=~there & there.any(1, keepdim=True))
        return out

    def forward(self, series: Tensor) -> Tensor:
        """Return features [B, D] of series [B, C, T]."""
        there = self.observed_patches(series).unsqueeze(2)
        return (self.tokens(series) * there).sum(1) / there.sum(1).clamp(min=1)


class PatchEncoder(PatchTransformer):
    """0.45 M parameters, a transformer on patches of 8 steps, without BatchNorm: for mae."""

    class Config(EncoderConfig):
        """The ``model.encoder`` section of the transformer on patches."""

        name: Literal["patch-transformer"] = "patch-transformer"
        """A transformer on patches."""
        patch: int = Field(8, ge=1, le=4096)
        """The steps of a patch."""

    def __init__(self, config: Config, spec: ExampleSpec):
        super().__init__(spec.shape[0], config.patch)
