"""E-SSL: also tell how an example is turned, so that features keep what a turn changes."""

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.modalities.base import Modality
from fedssl.objectives.batch import Batch
from fedssl.objectives.term import Term, TermConfig


class ESSL(Term):
    """Adds: which way is up. For images with an upright pose; wrong for those seen from above.

    λ·CE(which of four turns, of the encoder's features of a further view, turned all four ways).
    The turns are the modality's: an image's are quarter turns at half the resolution, which costs
    as much as one more view. The encoder sees the four turns as one batch. Its small head is
    federated, like the encoder.

    Source: Dangovski et al., "Equivariant Contrastive Learning", ICLR 2022, equation 2.
    """

    class Config(TermConfig):
        """An E-SSL term."""

        name: Literal["e-ssl"] = "e-ssl"
        """Tell by how much an example is turned."""
        weight: Number = Field(0.4, ge=0)
        """λ."""
        width: PositiveInt = 512
        """Width of the head's hidden layers (2048 in the paper)."""

    config: Config

    extra_views = 1

    def __init__(self, config: TermConfig, objective: str, features: int, modality: Modality):
        super().__init__(config, objective, features, modality)
        if not modality.turns:
            raise ValueError(
                f"objective.terms = e-ssl: {modality.noun[1]} have no turns to be told apart; "
                "leave it out"
            )
        self.turned = modality.turned
        width = self.config.width
        # LayerNorm, as published: a BatchNorm would see the four turns of an example side by side.
        self.head = nn.Sequential(
            nn.Linear(features, width),
            nn.LayerNorm(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, 4),
        )

    def forward(self, encoder: nn.Module, projections: Tensor, batch: Batch) -> Tensor:
        """Return λ times the cross-entropy of the four turns, a scalar."""
        views = batch.views[0]
        turns = torch.arange(4, device=views.device).repeat_interleave(len(views))
        return self.config.weight * F.cross_entropy(self.head(encoder(self.turned(views))), turns)
