"""FedU: clients that moved far keep their own predictor."""

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


class FedU(FedAvg):
    """Let a client keep its own predictor where its last update moved its encoder far.

    d is the mean over the encoder's weights (its convolutions) of ‖w_start − w_end‖₂ in the
    client's last update. From d ≥ the threshold on, the client begins its next update with the
    predictor that it ended its last one with, else, and on its first visit, with the global one.
    All else is the mean by examples.

    For objectives with a predictor (BYOL, SimSiam) on clients that differ; with others it is
    FedAvg. d depends on the learning rate, the number of local steps and the encoder: set the
    threshold by the divergences that FedAvg shows.

    Parameters
    ----------
    threshold : float (default: 0.4)
        The d from which on the predictor stays.

    Source: Zhuang et al., "Collaborative Unsupervised Visual Representation Learning from
    Decentralized Data", ICCV 2021.
    """

    def __init__(self, threshold: float = 0.4):
        super().__init__()
        self.threshold = threshold

    def asks(self, server_round: int, global_state: Mapping[str, Tensor]) -> Asked:
        """Return the threshold."""
        return Asked(fedu_threshold=self.threshold)

    def __repr__(self) -> str:
        return f"FedU: threshold {self.threshold}"


class FedUConfig(StrategyConfig):
    """Clients that moved far keep their predictor: BYOL or SimSiam on clients that differ."""

    name: Literal["fedu"] = "fedu"
    """The strategy."""
    threshold: Number = Field(0.4, ge=0)
    """How far an encoder must have moved for the predictor to stay."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy."""
        return FedU(self.threshold)
