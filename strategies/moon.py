"""MOON: clients' projections are drawn to the global model's and away from their own last ones."""

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


class MOON(FedAvg):
    """Add to each client's loss a contrast between the global model and the client's own last one.

    Clients minimise L + μ·ℓ with ℓ = −log( e^{s(z, z_glob)/τ} / (e^{s(z, z_glob)/τ} +
    e^{s(z, z_prev)/τ}) ), where z are the projections of the same view by the model in training,
    the one that was received, and the client's own at the end of its last visit, each with
    BatchNorm by its own batch; s is the cosine. On a first visit there is no last one, and no
    term. The server takes the mean by examples; the training loss that is reported is L alone.

    For when clients differ so much that their representations drift apart. It costs two more
    forward passes a step, and each client keeps a model of its own.

    Parameters
    ----------
    mu : float (default: 1)
        μ ≥ 0.
    temperature : float (default: 0.5)
        τ > 0.

    Source: Li, He and Song, "Model-Contrastive Federated Learning", CVPR 2021; there L is
    supervised.
    """

    def __init__(self, mu: float = 1.0, temperature: float = 0.5):
        super().__init__()
        self.mu, self.temperature = mu, temperature

    def asks(self, server_round: int, global_state: Mapping[str, Tensor]) -> Asked:
        """Return the term's numbers."""
        return Asked(moon_mu=self.mu, moon_temperature=self.temperature)

    def __repr__(self) -> str:
        return f"MOON: mu {self.mu}, temperature {self.temperature}"


class MOONConfig(StrategyConfig):
    """A term that draws projections to the global model's: representations that drift apart."""

    name: Literal["moon"] = "moon"
    """The strategy."""
    mu: Number = Field(1.0, ge=0)
    """μ, the term's weight."""
    temperature: Number = Field(0.5, gt=0)
    """τ of the contrast."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy."""
        return MOON(self.mu, self.temperature)
