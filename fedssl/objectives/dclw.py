"""DCLW: DCL in which the pairs that lie far apart count more."""

import math
from collections.abc import Sequence
from typing import Literal, cast

from pydantic import Field
from torch import Tensor, nn

from fedssl.base.fields import Number
from fedssl.networks.heads import mlp
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch, encode_views
from fedssl.objectives.dcl import decoupled


class DCLW(Objective):
    """DCL that attends to hard pairs: the less alike two views are, the more they attract.

    Both views go through the network as one batch, so BatchNorm sees 2B examples. The weights are
    relative to the client's own batch. Everything is federated. See `decoupled` for the formula
    and its source.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of DCLW."""

        name: Literal["dclw"] = "dclw"
        """Contrast as DCL does, with more weight on the pairs that lie far apart."""
        temperature: Number = Field(0.1, gt=0)
        """τ: the lower, the more the nearest negatives count."""
        sigma: Number = Field(0.5, gt=0)
        """σ: the lower, the more the pairs' weights differ."""

    config: Config

    # With one example there is no negative.
    minimum_batch = 2

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = mlp([cast(int, encoder.features), *projector], last_norm="none")

    def chance_loss(self, batch: int) -> float:
        """Return log(2B − 2), the loss where all views are equally similar."""
        return math.log(2 * batch - 2)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar."""
        first, second = self.projector(encode_views(self.encoder, batch.views)).chunk(2)
        return decoupled(first, second, self.config.temperature, self.config.sigma)
