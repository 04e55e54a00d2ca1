"""MAE: rebuild the patches of an example that the encoder was not shown."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.modalities.base import Modality
from fedssl.networks.encoder import MaskableEncoder
from fedssl.networks.transformer import transformer_blocks
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch

EPSILON = 1e-6
"""Added to a patch's variance, since a patch of one colour has none."""


@in_float32
def masked_error(rebuilt: Tensor, patches: Tensor) -> Tensor:
    """Return the mean squared error of patches against their pixels, normalised patch by patch.

    Parameters
    ----------
    rebuilt : Tensor
        [B, M, P]: what was made of the masked patches.
    patches : Tensor
        [B, M, P]: their pixels. Each patch's mean is subtracted, and it is divided by its standard
        deviation (of P − 1).

    Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, section 3.
    """
    variance, mean = patches.var(2, keepdim=True), patches.mean(2, keepdim=True)
    return (rebuilt - (patches - mean) / (variance + EPSILON).sqrt()).square().mean()


@in_float32
def known_error(rebuilt: Tensor, patches: Tensor) -> Tensor:
    """Return the same of patches [B, M, P] of which some numbers are not there: of all others.

    NaN stands for what is not there. A patch's mean and variance are those of its numbers that are.
    """
    known = ~patches.isnan()
    values = patches.nan_to_num(0.0)
    number = known.sum(2, keepdim=True)
    mean = values.sum(2, keepdim=True) / number.clamp(min=1)
    apart = (values - mean) * known
    variance = apart.square().sum(2, keepdim=True) / (number - 1).clamp(min=1)
    errors = (rebuilt - apart / (variance + EPSILON).sqrt()).square() * known
    return errors.sum() / known.sum().clamp(min=1)


def with_both(ranks: Tensor, there: Tensor) -> Tensor:
    """Return ranks by which, of two patches that are there or more, one is first and one last.

    Parameters
    ----------
    ranks : Tensor
        [B, T] in [0, 1): random; the patches of the lowest are shown.
    there : Tensor
        bool [B, T]: which patches are there. Where all are, the order stays what it is.
    """
    first = ranks.masked_fill(~there, 2).argmin(1, keepdim=True)
    last = ranks.masked_fill(~there, -1).argmax(1, keepdim=True)
    return ranks.scatter(1, last, 2.0).scatter(1, first, -1.0)


class MAE(Objective):
    """For transformers (``vit-tiny``) with much data: rebuild what is masked, without negatives.

    A client shows the encoder a quarter of an example's patches; a small decoder rebuilds the
    others. One view; ``model.projector`` is not used. The paper's augmentation is crop and flip
    alone (``views: {jitter: 0, grayscale: 0}``). Encoder and decoder are federated, nothing is
    private.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of MAE."""

        name: Literal["mae"] = "mae"
        """Rebuild the patches of an example that the encoder was not shown."""
        masked: Number = Field(0.75, gt=0, lt=1)
        """The share of an example's patches that are masked; at least one is, and one is shown."""
        decoder_width: PositiveInt = Field(96, multiple_of=4)
        """The width of the decoder's tokens (512 in the paper)."""
        decoder_depth: PositiveInt = 2
        """The decoder's blocks (8 in the paper)."""
        decoder_heads: PositiveInt = 3
        """The decoder's attention heads, a divisor of its width."""

    config: Config

    number_of_views = 1
    # There is no BatchNorm, and an example is its own target.
    minimum_batch = 1

    @classmethod
    def check_fits(cls, encoder: nn.Module, modality: Modality) -> None:
        """Raise a ValueError where the encoder cannot be shown some patches alone."""
        if isinstance(encoder, MaskableEncoder):
            return
        fix = f"set model.encoder to {' or '.join(modality.maskable)}"
        none = f"no encoder of {modality.noun[1]} can; choose another objective"
        raise ValueError(
            "objective.name = mae: needs an encoder that can be shown some patches alone: "
            + (fix if modality.maskable else none)
        )

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        width, heads = self.config.decoder_width, self.config.decoder_heads
        if width % heads:
            raise ValueError(
                f"objective.decoder_heads = {heads}: must divide decoder_width = {width}"
            )
        maskable = cast(MaskableEncoder, encoder)
        self.encoder, self.projector = encoder, nn.Identity()
        self.embed = nn.Linear(maskable.features, width)
        self.mask = nn.Parameter(0.02 * torch.randn(width))
        self.decoder = transformer_blocks(width, self.config.decoder_depth, heads)
        self.pixels = nn.Linear(width, maskable.values_per_patch)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of one view, a scalar."""
        examples, encoder = batch.views[0], cast(MaskableEncoder, self.encoder)
        patches = encoder.patches(examples)
        count, total = patches.shape[:2]
        if total < 2:
            raise ValueError(
                "objective.name = mae: an example has one patch only; nothing can be masked"
            )
        kept = min(max(1, round((1 - self.config.masked) * total)), total - 1)
        ranks, there = (
            torch.rand(count, total, generator=batch.draws),
            encoder.observed_patches(examples),
        )
        if there is not None:
            ranks = with_both(ranks, there.cpu())
        order = ranks.argsort(1).to(examples.device)
        shown, hidden = order[:, :kept], order[:, kept:]
        known = self.embed(encoder.tokens(examples, shown))
        width = known.shape[2]
        unknown = self.mask.to(known.dtype).expand(count, total - kept, width)
        places = encoder.position_encodings(examples, width).to(examples.device)[order]
        absent = None
        if there is not None:
            # Where nothing is there, everything is looked at: a softmax over nothing is NaN.
            absent = (~there & there.any(1, keepdim=True)).gather(1, order)
        tokens = self.decoder(
            torch.cat([known, unknown], dim=1) + places, src_key_padding_mask=absent
        )
        target = patches.gather(1, hidden.unsqueeze(2).expand(-1, -1, patches.shape[2]))
        error = masked_error if there is None else known_error
        return error(self.pixels(tokens[:, kept:]), target)
