"""SimCLR: tell an example's other view from all other examples."""

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.networks.heads import mlp
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch, encode_views


@in_float32
def nt_xent(first: Tensor, second: Tensor, temperature: float, margin: float = 0.0) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy, the mean over all 2B views.

    For view i with the other view j of its example, and the cosine similarity s,
    −log( e^{s_ij/τ} / Σ_{k≠i} e^{s_ik/τ} ), where s_ij stands for s_ij − m in both places. At
    chance it is about log(2B − 1), so losses of different batch sizes cannot be compared.

    Parameters
    ----------
    first, second : Tensor
        [B, D] each: the projections of the two views, of any norm.
    temperature : float
        τ > 0.
    margin : float
        m ≥ 0: by how much an example's other view must be closer than all others.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
    ICML 2020, equation 1; the margin: Lepage and Dehak, "Additive Margin in Contrastive
    Self-Supervised Frameworks to Learn Discriminative Speaker Representations", Odyssey 2024.

    Examples
    --------
    >>> first, second = torch.eye(2), torch.eye(2)
    >>> round(float(nt_xent(first, second, temperature=0.5)), 4)
    0.2395
    """
    count = len(first)
    z = F.normalize(torch.cat([first, second]), dim=1)
    logits = (z @ z.T) / temperature
    logits.fill_diagonal_(-torch.inf)
    places = torch.arange(2 * count, device=z.device)
    other_view = places.roll(count)
    if margin > 0:
        logits[places, other_view] -= margin / temperature
    return F.cross_entropy(logits, other_view)


class SimCLR(Objective):
    """Contrastive, the usual start: learns from the batch's other examples, so wants large batches.

    The two views of an example attract each other, all others repel. Both views go through the
    network as one batch, so BatchNorm sees 2B examples. Everything is federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of SimCLR."""

        name: Literal["simclr"] = "simclr"
        """Contrast the two views of an example with all other examples of the batch."""
        temperature: Number = Field(0.5, gt=0)
        """τ: the lower, the more the nearest negatives count."""
        margin: Number = Field(0.0, ge=0, lt=2)
        """m: an example's views must be closer than all others by it; 0.1 is a usual choice."""

    config: Config

    # With one example there is no negative.
    minimum_batch = 2

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = mlp([cast(int, encoder.features), *projector], last_norm="none")

    def chance_loss(self, batch: int) -> float:
        """Return the loss where all views are equally similar: log(2B − 1) without a margin."""
        behind = self.config.margin / self.config.temperature
        return behind + math.log(2 * batch - 2 + math.exp(-behind))

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar."""
        first, second = self.projector(encode_views(self.encoder, batch.views)).chunk(2)
        return nt_xent(first, second, self.config.temperature, self.config.margin)
