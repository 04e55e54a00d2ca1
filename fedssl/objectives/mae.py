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
        [B, M, P]: the decoder's output for the masked patches.
    patches : Tensor
        [B, M, P]: their pixels. Each patch's mean is subtracted, and it is divided by its standard
        deviation (of P − 1).

    Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, section 3.

    Examples
    --------
    >>> patches = torch.tensor([[[1.0, 3.0]]])
    >>> round(float(masked_error(torch.zeros(1, 1, 2), patches)), 4)
    0.5
    """
    variance, mean = patches.var(2, keepdim=True), patches.mean(2, keepdim=True)
    return (rebuilt - (patches - mean) / (variance + EPSILON).sqrt()).square().mean()


@in_float32
def known_error(rebuilt: Tensor, patches: Tensor) -> Tensor:
    """Return `masked_error` of patches [B, M, P] with missing values (NaN), which do not count.

    A patch's mean and variance are those of its values that are present.
    """
    present = ~patches.isnan()
    values = patches.nan_to_num(0.0)
    number = present.sum(2, keepdim=True)
    mean = values.sum(2, keepdim=True) / number.clamp(min=1)
    deviation = (values - mean) * present
    variance = deviation.square().sum(2, keepdim=True) / (number - 1).clamp(min=1)
    errors = (rebuilt - deviation / (variance + EPSILON).sqrt()).square() * present
    return errors.sum() / present.sum().clamp(min=1)


def with_both(ranks: Tensor, there: Tensor) -> Tensor:
    """Return ranks that make one present patch first and one last, if two or more are present.

    Parameters
    ----------
    ranks : Tensor
        [B, T] in [0, 1): random; the patches of the lowest are shown.
    there : Tensor
        bool [B, T]: which patches are present. If all are, the order does not change.
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
        shown_count = min(max(1, round((1 - self.config.masked) * total)), total - 1)
        ranks, present = (
            torch.rand(count, total, generator=batch.generator),
            encoder.observed_patches(examples),
        )
        if present is not None:
            ranks = with_both(ranks, present.cpu())
        order = ranks.argsort(1).to(examples.device)
        shown, hidden = order[:, :shown_count], order[:, shown_count:]
        shown_tokens = self.embed(encoder.tokens(examples, shown))
        width = shown_tokens.shape[2]
        mask_tokens = self.mask.to(shown_tokens.dtype).expand(count, total - shown_count, width)
        places = encoder.position_encodings(examples, width).to(examples.device)[order]
        absent = None
        if present is not None:
            # Where nothing is there, everything is looked at: a softmax over nothing is NaN.
            absent = (~present & present.any(1, keepdim=True)).gather(1, order)
        tokens = self.decoder(
            torch.cat([shown_tokens, mask_tokens], dim=1) + places, src_key_padding_mask=absent
        )
        target = patches.gather(1, hidden.unsqueeze(2).expand(-1, -1, patches.shape[2]))
        error = masked_error if present is None else known_error
        return error(self.pixels(tokens[:, shown_count:]), target)
