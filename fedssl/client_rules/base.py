"""The base class of client rules: the part of a strategy that runs on the clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict
from torch import Tensor, nn

from fedssl.base.fields import DottedPath, Fields
from fedssl.client_rules.context import ClientRound, LocalStep, Update
from fedssl.config import ClientConfig
from fedssl.model_state import State, TensorRoles
from fedssl.objectives.base import Objective


class ClientRuleConfig(Fields):
    """A client rule's section in a message: its name and its numbers.

    Examples
    --------
    >>> class Config(ClientRuleConfig):  # nested in the rule's class
    ...     name: str = "small"
    ...     weight: float = 0.1
    >>> Config(weight=0.5)
    Config(name='small', weight=0.5)
    """

    name: str
    """The rule: one of `CLIENT_RULES`, or a dotted path."""


class CustomRuleConfig(ClientRuleConfig):
    """The section of your own rule, named by its dotted path; its class reads the other fields."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path of the rule's class."""


@dataclass(frozen=True)
class ReportedMetric:
    """The declaration of a metric that a rule reports; the server refuses any other value.

    Examples
    --------
    >>> ReportedMetric(0.0, 1.0)  # one number from 0 to 1
    ReportedMetric(minimum=0.0, maximum=1.0, length=None)
    """

    minimum: float
    """The smallest valid number."""
    maximum: float
    """The largest valid number."""
    length: int | None = None
    """The number of values, if the metric is a list; None for a single number."""


class ClientRule:
    """The part of a strategy that runs on a client, beside training the model.

    One instance is made for each client and round. Every method is optional: its default does
    nothing. `declared_metrics` and `declared_tensors` declare all that the rule sends: the client
    sends nothing else, and the server accepts nothing else. In messages each name has the rule's
    name before it, as in ``scaffold/encoder.weight``; in the methods below it has not.

    Parameters
    ----------
    config : ClientRuleConfig
        The rule's section of the message, an instance of this class's ``Config``.

    Examples
    --------
    A term that keeps weights small:

    >>> class Small(ClientRule):
    ...     class Config(ClientRuleConfig):
    ...         name: str = "small"
    ...         weight: float = 0.1
    ...
    ...     def term(self, step):
    ...         squares = [w.square().sum() for w in step.weights.values()]
    ...         return self.config.weight * sum(squares)
    """

    Config: ClassVar[type[ClientRuleConfig]] = ClientRuleConfig
    config: ClientRuleConfig
    needs_projections: ClassVar[bool] = False
    """Whether `term` or `after_step` reads the step's projections."""
    metrics_only: ClassVar[bool] = False
    """Whether the rule only reports metrics: clients train the same with it and without it."""
    network: nn.Module | None = None
    """A network that the rule trains beside the model, if `on_round_start` sets one. Its optimiser
    has the client's settings, and a new state in each round."""

    def __init__(self, config: ClientRuleConfig):
        self.config = config

    def check(self, client: ClientConfig, objective: Objective) -> None:
        """Raise a ValueError if the rule cannot work with these settings or this objective."""

    def initial_tensors(self, client_round: ClientRound) -> State:
        """Return the federated tensors that replace those of the round's start, by name."""
        return {}

    def resets_private_state(self, client_round: ClientRound) -> bool:
        """Return whether the client discards its private tensors and a kept optimiser's state.

        Its memory, which client rules remember, is used all the same.
        """
        return False

    def on_round_start(
        self, client_round: ClientRound, objective: Objective, training_start: Mapping[str, Tensor]
    ) -> None:
        """Prepare the rule for the local steps.

        Parameters
        ----------
        client_round : ClientRound
            The client's round.
        objective : Objective
            The model that will be trained, on the device where it is trained.
        training_start : Mapping[str, Tensor]
            All federated tensors from which the update starts. Rules only read them.
        """

    def term(self, step: LocalStep) -> Tensor | None:
        """Return a term that is added to the step's loss, a scalar, or None.

        The training loss that a client reports does not include it.
        """
        return None

    def after_step(self, step: LocalStep) -> None:
        """Do something after each step of the optimiser."""

    def metrics(self, update: Update) -> dict[str, float | list[float]]:
        """Return the metrics for the server, as `declared_metrics` declares them."""
        return {}

    def tensors(self, update: Update) -> State:
        """Return the extra tensors for the server, as `declared_tensors` declares them."""
        return {}

    def remember(self, update: Update) -> State:
        """Return the tensors that this client stores for its next round; they never leave it.

        A replay also calls it for updates in which the rule was not active: then neither
        `initial_tensors` nor `on_round_start` was called.
        """
        return {}

    def declared_metrics(
        self, model: Mapping[str, Tensor], roles: TensorRoles
    ) -> Mapping[str, ReportedMetric]:
        """Return the declaration of each metric that `metrics` returns.

        Parameters
        ----------
        model : Mapping[str, Tensor]
            The tensors of the server's message; their values have no meaning here.
        roles : TensorRoles
            The roles of the model's tensors, by name.
        """
        return {}

    def declared_tensors(
        self, model: Mapping[str, Tensor], roles: TensorRoles
    ) -> Mapping[str, Tensor]:
        """Return tensors with the names, shapes and types of those that `tensors` returns.

        Parameters
        ----------
        model, roles
            See `declared_metrics`.
        """
        return {}
