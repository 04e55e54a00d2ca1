"""FedU: clients that moved far keep their own predictor."""

from typing import Literal

from pydantic import Field

from fedssl.base.fields import Number
from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.fedu import KeepPredictor
from strategies.config import StrategyConfig
from strategies.fedavg import MeanByExamples


class FedU(MeanByExamples):
    """Clients that moved far keep their predictor: BYOL or SimSiam on clients that differ.

    Let a client keep its own predictor where its last update moved its encoder far.

    d is the mean over the encoder's weights (its convolutions) of ‖w_start − w_end‖₂ in the
    client's last update. From d ≥ the threshold on, the client begins its next update with the
    predictor that it ended its last one with, else, and in its first round, with the global one.
    All else is the mean by examples.

    For objectives with a predictor (BYOL, SimSiam) on clients that differ; with others it is
    FedAvg. d depends on the learning rate, the number of local steps and the encoder: set the
    threshold by the divergences that FedAvg shows.

    Source: Zhuang et al., "Collaborative Unsupervised Visual Representation Learning from
    Decentralized Data", ICCV 2021.

    Examples
    --------
    In a config::

        strategy: {name: fedu, threshold: 0.2}

    >>> FedU(FedU.Config(threshold=0.2)).rules(server_round=1)
    (Config(name='fedu', threshold=0.2),)
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedU."""

        name: Literal["fedu"] = "fedu"
        """The name of this strategy."""
        threshold: Number = Field(0.4, ge=0)
        """How far an encoder must have moved for the predictor to stay."""

    config: Config

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the rule."""
        return (KeepPredictor.Config(threshold=self.config.threshold),)

    def __repr__(self) -> str:
        return f"FedU: threshold {self.config.threshold}"
