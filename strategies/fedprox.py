"""FedProx: clients are held back from drifting away from the global model."""

from typing import Literal

from pydantic import Field

from fedssl.base.fields import Number
from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.proximal import Proximal
from strategies.config import StrategyConfig
from strategies.fedavg import MeanByExamples


class FedProx(MeanByExamples):
    """A term that holds clients near the global model: many local steps, or unequal numbers.

    Add to each client's loss how far its weights are from the global ones.

    Clients minimise L(w) + μ/2·‖w − g‖² over the parameters; the server takes the mean by examples.
    The training loss that is reported is L alone.

    For when clients differ, or some do many more local steps than others, so that their models
    drift apart within a round. Too large a μ keeps them from learning: try 0.001 to 1.

    Source: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, equation 2.

    Examples
    --------
    In a config::

        strategy: {name: fedprox, mu: 0.1}

    >>> FedProx(FedProx.Config(mu=0.1)).rules(server_round=1)
    (Config(name='proximal', mu=0.1),)
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedProx."""

        name: Literal["fedprox"] = "fedprox"
        """The name of this strategy."""
        mu: Number = Field(0.01, ge=0)
        """μ: how strongly weights are held."""

    config: Config

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the rule."""
        return (Proximal.Config(mu=self.config.mu),)

    def __repr__(self) -> str:
        return f"FedProx: mu {self.config.mu}"
