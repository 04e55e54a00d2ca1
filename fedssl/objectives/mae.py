"""MAE: rebuild the patches of an image that the encoder was not shown."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from fedssl.fields import Number
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch
from fedssl.precision import in_float32
from fedssl.vit import VisionTransformer, blocks, positions_2d

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


class MAE(Objective):
    """For transformers (``vit-tiny``) with many images: rebuild what is masked, without negatives.

    A client shows the encoder a quarter of an image's patches; a small decoder rebuilds the
    others. One view; ``model.projector`` is not used. The paper's augmentation is crop and flip
    alone (``views: {jitter: 0, grayscale: 0}``). Encoder and decoder are federated, nothing is
    private.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of MAE."""

        name: Literal["mae"] = "mae"
        """Rebuild the patches of an image that the encoder was not shown."""
        masked: Number = Field(0.75, gt=0, lt=1)
        """The share of an image's patches that are masked; at least one is, and one is shown."""
        decoder_width: PositiveInt = Field(96, multiple_of=4)
        """The width of the decoder's tokens (512 in the paper)."""
        decoder_depth: PositiveInt = 2
        """The decoder's blocks (8 in the paper)."""
        decoder_heads: PositiveInt = 3
        """The decoder's attention heads, a divisor of its width."""

    number_of_views = 1
    # There is no BatchNorm, and an image is its own target.
    minimum_batch = 1

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        own = cast(MAE.Config, config)
        if not isinstance(encoder, VisionTransformer):
            raise ValueError(
                "objective.name = mae: needs an encoder that can be shown some patches alone: set "
                "model.encoder to vit-tiny"
            )
        if own.decoder_width % own.decoder_heads:
            raise ValueError(
                f"objective.decoder_heads = {own.decoder_heads}: must divide decoder_width = "
                f"{own.decoder_width}"
            )
        self.encoder, self.projector = encoder, nn.Identity()
        self.masked, width = own.masked, own.decoder_width
        self.embed = nn.Linear(encoder.features, width)
        self.mask = nn.Parameter(0.02 * torch.randn(width))
        self.decoder = blocks(width, own.decoder_depth, own.decoder_heads)
        self.pixels = nn.Linear(width, 3 * encoder.patch**2)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of one view, a scalar."""
        images, encoder = batch.views[0], cast(VisionTransformer, self.encoder)
        rows, columns = encoder.grid(images)
        count, total = len(images), rows * columns
        if total < 2:
            raise ValueError(
                "objective.name = mae: an image has one patch only; nothing can be masked"
            )
        kept = min(max(1, round((1 - self.masked) * total)), total - 1)
        order = torch.rand(count, total, generator=batch.draws).argsort(1).to(images.device)
        shown, hidden = order[:, :kept], order[:, kept:]
        known = self.embed(encoder.tokens(images, shown))
        width = known.shape[2]
        unknown = self.mask.to(known.dtype).expand(count, total - kept, width)
        places = positions_2d(rows, columns, width).to(images.device)[order]
        tokens = self.decoder(torch.cat([known, unknown], dim=1) + places)
        patches = encoder.patches(images)
        target = patches.gather(1, hidden.unsqueeze(2).expand(-1, -1, patches.shape[2]))
        return masked_error(self.pixels(tokens[:, kept:]), target)
