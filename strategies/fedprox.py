"""FedProx: clients are held back from drifting away from the global model."""

from collections.abc import Mapping
from typing import Literal

from flwr.serverapp.strategy import Strategy
from pydantic import Field
from torch import Tensor

from fedssl.asked import Asked
from fedssl.fields import Number
from fedssl.state import ModelParts
from strategies.config import StrategyConfig
from strategies.fedavg import FedAvg


class FedProx(FedAvg):
    """Add to each client's loss how far its weights are from the global ones.

    Clients minimise L(w) + μ/2·‖w − g‖² over the parameters; the server takes the mean by examples.
    The training loss that is reported is L alone.

    For when clients differ, or some do many more local steps than others, so that their models
    drift apart within a round. Too large a μ keeps them from learning: try 0.001 to 1.

    Parameters
    ----------
    mu : float (default: 0.01)
        μ ≥ 0.

    Source: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, equation 2.
    """

    def __init__(self, mu: float = 0.01):
        super().__init__()
        self.mu = mu

    def asks(self, server_round: int, global_state: Mapping[str, Tensor]) -> Asked:
        """Return the term's weight."""
        return Asked(proximal_mu=self.mu)

    def __repr__(self) -> str:
        return f"FedProx: mu {self.mu}"


class FedProxConfig(StrategyConfig):
    """A term that holds clients near the global model: many local steps, or unequal numbers."""

    name: Literal["fedprox"] = "fedprox"
    """The strategy."""
    mu: Number = Field(0.01, ge=0)
    """μ: how strongly weights are held."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy."""
        return FedProx(self.mu)
