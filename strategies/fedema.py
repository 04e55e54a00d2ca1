"""FedEMA: clients start from a mix of the global model and their own."""

from typing import Literal

from pydantic import Field

from fedssl.base.fields import Number
from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.fedema import Mixture
from strategies.config import StrategyConfig
from strategies.fedavg import MeanByExamples


class FedEMA(MeanByExamples):
    """Clients mix the global model with their own: BYOL, most clients in most rounds.

    Let a client start from a mix of the global model and its own, the more its own it moved.

    w = μ·w_own + (1 − μ)·g over all parameters, predictor included, with μ = min(1, λ·d); d is how
    far the client's last update moved its encoder (see `FedU`), and each client's λ = τ/d is fixed
    at its first use, so that μ is τ then. BatchNorm's statistics are the global ones. A client that
    was absent in the last round takes everything global, and its target network starts anew, as on
    its first round. The server takes the mean by examples.

    For BYOL and its like on clients that differ and take part in most rounds: it keeps what a
    client learned about its own examples. With few of many clients a round it hardly ever mixes.
    Each client keeps a model of its own.

    Source: Zhuang, Wen and Zhang, "Divergence-aware Federated Self-Supervised Learning", ICLR 2022;
    what absent clients do is its code's way with partial participation.

    Examples
    --------
    In a config::

        strategy: {name: fedema, tau: 0.5}

    >>> FedEMA(FedEMA.Config(tau=0.5)).rules(server_round=1)
    (Config(name='fedema', tau=0.5),)
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedEMA."""

        name: Literal["fedema"] = "fedema"
        """The name of this strategy."""
        tau: Number = Field(0.7, gt=0)
        """τ: the share of its own that a client first starts from."""

    config: Config

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the rule."""
        return (Mixture.Config(tau=self.config.tau),)

    def __repr__(self) -> str:
        return f"FedEMA: tau {self.config.tau}"
