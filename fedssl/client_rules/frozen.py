"""Compute projections with a frozen copy of another model of the same architecture."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fedssl.model_state import clone
from fedssl.objectives.base import Objective


class _EncoderWithProjector(nn.Module):
    """An objective's encoder and projector, for `functional_call` with other tensors."""

    def __init__(self, objective: Objective):
        super().__init__()
        self.encoder, self.projector = objective.encoder, objective.projector

    def forward(self, examples: Tensor) -> Tensor:
        projection: Tensor = self.projector(self.encoder(examples))
        return projection


class FrozenModel:
    """The encoder and projector of a model that is not trained.

    Parameters
    ----------
    objective : Objective
        The model in training, whose modules are used; its tensors are not.
    state : Mapping[str, Tensor]
        The frozen model's tensors, at least those of encoder and projector; they are copied.
    own_statistics : bool (default: False)
        Whether BatchNorm uses the running statistics in ``state``. By default it uses those of
        each batch, like the model in training.
    """

    def __init__(
        self, objective: Objective, state: Mapping[str, Tensor], own_statistics: bool = False
    ):
        self._network = _EncoderWithProjector(objective)
        device = next(self._network.parameters()).device
        # Copies, since BatchNorm in train mode updates its running statistics.
        self._tensors = clone({n: state[n].to(device) for n in self._network.state_dict()})
        self._own_statistics = own_statistics

    @torch.no_grad()
    def project(self, examples: Tensor) -> Tensor:
        """Return the projections [B, D] of the encoder's inputs [B, …]."""
        if not self._own_statistics:
            projection: Tensor = functional_call(self._network, self._tensors, (examples,))
            return projection
        modes = [(module, module.training) for module in self._network.modules()]
        self._network.eval()
        try:
            projection = functional_call(self._network, self._tensors, (examples,))
        finally:
            for module, training in modes:
                module.training = training
        return projection
