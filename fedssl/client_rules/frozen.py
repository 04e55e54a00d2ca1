"""Other models' projections of the examples that a client trains on."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fedssl.model_state import clone
from fedssl.objectives.base import Objective


class _Projecting(nn.Module):
    """An objective's encoder and projector, to be run with the tensors of other models."""

    def __init__(self, objective: Objective):
        super().__init__()
        self.encoder, self.projector = objective.encoder, objective.projector

    def forward(self, examples: Tensor) -> Tensor:
        projection: Tensor = self.projector(self.encoder(examples))
        return projection


class FrozenModel:
    """The encoder and projector of another model than the one in training, which never learns.

    Parameters
    ----------
    objective : Objective
        In training: the network is its, the tensors are not.
    state : Mapping[str, Tensor]
        At least the tensors of encoder and projector; copied.
    own_statistics : bool (default: False)
        Whether BatchNorm uses the statistics of ``state``, or those of each batch, like the model
        in training.
    """

    def __init__(
        self, objective: Objective, state: Mapping[str, Tensor], own_statistics: bool = False
    ):
        self._network = _Projecting(objective)
        device = next(self._network.parameters()).device
        # Copies, as their BatchNorm goes on measuring, like that of the model in training.
        self._tensors = clone({n: state[n].to(device) for n in self._network.state_dict()})
        self._own_statistics = own_statistics

    @torch.no_grad()
    def project(self, examples: Tensor) -> Tensor:
        """Return the projections [B, D] of examples [B, …] as an encoder takes them."""
        if not self._own_statistics:
            projected: Tensor = functional_call(self._network, self._tensors, (examples,))
            return projected
        modes = [(part, part.training) for part in self._network.modules()]
        self._network.eval()
        try:
            projected = functional_call(self._network, self._tensors, (examples,))
        finally:
            for part, training in modes:
                part.training = training
        return projected
