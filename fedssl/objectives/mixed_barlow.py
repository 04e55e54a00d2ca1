"""Mixed Barlow Twins: Barlow Twins that also sees mixtures of examples, so as not to overfit."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.modalities.base import Modality
from fedssl.networks.heads import mlp
from fedssl.objectives.barlow import from_identity, standardise
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch


@in_float32
def mixed_barlow_twins(
    first: Tensor,
    second: Tensor,
    mixed: Tensor,
    order: Tensor,
    share: float,
    off_diagonal: float,
    mixing: float,
) -> Tensor:
    """Return the loss of Barlow Twins and, weighted, that of the mixtures.

    With C_uv the cross-correlation of two sets of projections, standardised over the batch,
    Σ_i (1 − c_ii)² + λ·Σ_{i≠j} c_ij² of c = C_12, and λ_reg·λ times
    Σ_v ‖C_mv − (a·C_1v + (1 − a)·C_2'v)‖² over both views v: a mixture's projection shall lie
    between those of what was mixed.

    Parameters
    ----------
    first, second : Tensor
        [B, D] each: the projections of the two views, 1 and 2.
    mixed : Tensor
        [B, D]: those of the mixtures a·x₁ + (1 − a)·x₂[order], m.
    order : Tensor
        int64 [B]: the permutation that makes 2' of 2.
    share : float
        a.
    off_diagonal, mixing : float
        λ and λ_reg.

    Source: Bandara, De Melo and Patel, "Guarding Barlow Twins Against Overfitting with Mixed
    Samples", 2023, section 3.

    Examples
    --------
    >>> views = torch.tensor([[1.0], [-1.0]])
    >>> order = torch.tensor([0, 1])
    >>> round(float(mixed_barlow_twins(views, views, views, order, 0.5, 0.005, 4.0)), 4)
    0.0
    """
    count = len(first)
    first, second, mixed = (standardise(z) for z in (first, second, mixed))
    loss = from_identity(first.T @ second / count, off_diagonal)
    # C_mv − (a·C_1v + (1 − a)·C_2'v) is the correlation of what m lacks with v: half the products.
    lacking = mixed - (share * first + (1 - share) * second[order])
    apart = [(lacking.T @ view / count).square().sum() for view in (first, second)]
    return loss + mixing * off_diagonal * (apart[0] + apart[1])


class MixedBarlowTwins(Objective):
    """Barlow Twins for few examples, as clients have: mixtures keep it from overfitting.

    A step costs half as much again, since the mixtures go through the network too. Each view and
    the mixtures are a batch of their own for BatchNorm. Everything is federated.
    """

    class Config(ObjectiveConfig):
        """The ``objective`` section of Mixed Barlow Twins."""

        name: Literal["mixed-barlow"] = "mixed-barlow"
        """Barlow Twins, and projections of mixed examples between those of the examples."""
        off_diagonal: Number = Field(1 / 128, ge=0)
        """λ: the weight of the entries off the diagonal."""
        mixing: Number = Field(4.0, ge=0)
        """λ_reg: the weight of the mixtures, as a multiple of λ."""

    config: Config

    # With two examples every correlation is ±1 whatever the weights, so nothing is learned.
    minimum_batch = 3

    @classmethod
    def check_fits(cls, encoder: nn.Module, modality: Modality) -> None:
        """Raise a ValueError where a mean of two examples is no example."""
        if not modality.mixes:
            raise ValueError(
                f"objective.name = mixed-barlow: mixes examples, and {modality.noun[1]} cannot be "
                "mixed; use barlow"
            )

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = mlp([cast(int, encoder.features), *projector], last_norm="none")

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of two views, a scalar."""
        first, second = batch.views
        # Beta(1, 1), the paper's choice, is uniform.
        share = torch.rand((), generator=batch.generator).item()
        order = torch.randperm(len(first), generator=batch.generator).to(first.device)
        mixed = share * first + (1 - share) * second[order]
        z1, z2, zm = (self.projector(self.encoder(examples)) for examples in (first, second, mixed))
        return mixed_barlow_twins(
            z1, z2, zm, order, share, self.config.off_diagonal, self.config.mixing
        )
