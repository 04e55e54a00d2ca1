"""FedProx's client rule: a penalty on the distance from the start of training."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import LocalStep


def squared_distance(weights: Mapping[str, Tensor], anchors: Mapping[str, Tensor]) -> Tensor:
    """Return ½·Σ‖w − w₀‖², a scalar: half the squared distance of weights from their anchors.

    Source: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, equation 2.

    Examples
    --------
    >>> squared_distance({"w": torch.tensor([3.0, 4.0])}, {"w": torch.zeros(2)})
    tensor(12.5000)
    """
    distances = [(w - anchors[name].to(w)).square().sum() for name, w in weights.items()]
    return torch.stack(distances).sum() / 2


class Proximal(ClientRule):
    """Adds FedProx's term μ/2·‖w − g‖²: weights stay near those that the client started from."""

    class Config(ClientRuleConfig):
        """The rule's section of a message."""

        name: Literal["proximal"] = "proximal"
        """The name of the rule."""
        mu: Number = Field(0.01, ge=0)
        """μ: the weight of the term."""

    config: Config

    def term(self, step: LocalStep) -> Tensor | None:
        """Return μ/2·‖w − g‖² over the parameters."""
        if not self.config.mu:
            return None
        return self.config.mu * squared_distance(step.weights, step.training_start)
