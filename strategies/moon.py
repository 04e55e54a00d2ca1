"""MOON: clients' projections are drawn to the global model's and away from their own last ones."""

from typing import Literal

from pydantic import Field

from fedssl.base.fields import Number
from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.moon import ModelContrast
from strategies.config import StrategyConfig
from strategies.fedavg import MeanByExamples


class MOON(MeanByExamples):
    """A term that draws projections to the global model's: representations that drift apart.

    Add to each client's loss a contrast between the global model and the client's own last one.

    Clients minimise L + μ·ℓ with ℓ = −log( e^{s(z, z_glob)/τ} / (e^{s(z, z_glob)/τ} +
    e^{s(z, z_prev)/τ}) ), where z are the projections of the same view by the model in training,
    the one that was received, and the client's own at the end of its last round, each with
    BatchNorm by its own batch; s is the cosine. In a first round there is no last one, and no
    term. The server takes the mean by examples; the training loss that is reported is L alone.

    For when clients differ so much that their representations drift apart. It costs two more
    forward passes a step, and each client keeps a model of its own.

    Source: Li, He and Song, "Model-Contrastive Federated Learning", CVPR 2021; there L is
    supervised.

    Examples
    --------
    In a config::

        strategy: {name: moon, mu: 5.0}

    >>> MOON(MOON.Config(mu=5.0)).rules(server_round=1)
    (Config(name='moon', mu=5.0, temperature=0.5),)
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of MOON."""

        name: Literal["moon"] = "moon"
        """The name of this strategy."""
        mu: Number = Field(1.0, ge=0)
        """μ, the term's weight."""
        temperature: Number = Field(0.5, gt=0)
        """τ of the contrast."""

    config: Config

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the rule."""
        return (ModelContrast.Config(mu=self.config.mu, temperature=self.config.temperature),)

    def __repr__(self) -> str:
        return f"MOON: mu {self.config.mu}, temperature {self.config.temperature}"
