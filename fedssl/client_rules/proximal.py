"""FedProx's term: weights are held near those that the client received."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import LocalStep


def squared_distance(weights: Mapping[str, Tensor], anchors: Mapping[str, Tensor]) -> Tensor:
    """Return ½·Σ‖w − w₀‖², a scalar: how far weights are from where they began.

    Source: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, equation 2.
    """
    distances = [(w - anchors[name].to(w)).square().sum() for name, w in weights.items()]
    return torch.stack(distances).sum() / 2


class Proximal(ClientRule):
    """Holds weights near those that the client started from: FedProx's term, μ/2·‖w − g‖²."""

    class Config(ClientRuleConfig):
        """The rule's numbers."""

        name: Literal["proximal"] = "proximal"
        """The rule."""
        mu: Number = Field(0.01, ge=0)
        """μ: how strongly weights are held."""

    config: Config

    def term(self, step: LocalStep) -> Tensor | None:
        """Return μ/2·‖w − g‖² over the parameters."""
        if not self.config.mu:
            return None
        return self.config.mu * squared_distance(step.weights, step.start)
