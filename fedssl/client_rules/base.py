"""What every client rule is: the client half of a strategy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict
from torch import Tensor, nn

from fedssl.base.fields import Dotted, Fields
from fedssl.client_rules.context import LocalStep, Update, Visit
from fedssl.config import ClientConfig
from fedssl.model_state import ModelParts, State
from fedssl.objectives.base import Objective


class ClientRuleConfig(Fields):
    """A rule as it stands in a message: its name and its numbers."""

    name: str
    """Which rule: one of `CLIENT_RULES`, or a dotted path."""


class CustomRuleConfig(ClientRuleConfig):
    """A rule of your own, by its dotted path; further fields go to its class."""

    model_config = ConfigDict(extra="allow")

    name: Dotted
    """The dotted path."""


@dataclass(frozen=True)
class ReportedMetric:
    """A metric that a rule reports, as it is declared: the server refuses any other."""

    least: float
    """The smallest number that it may be."""
    most: float
    """The largest."""
    count: int | None = None
    """How many numbers it has, if it is a list; None for one number."""


class ClientRule:
    """What a client does for a strategy, beside training the model that it was sent.

    One is made for each client and round. All that it does is optional: every method does nothing
    unless it is overridden. What the rule sends is declared by `metrics_sent` and `tensors_sent`:
    neither a client nor the server lets anything else pass. On the wire each name has the rule's
    before it, as in ``scaffold/encoder.weight``; here it has not.

    Parameters
    ----------
    config : ClientRuleConfig
        An instance of this class's ``Config``, which came in a message.

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
    watches: ClassVar[bool] = False
    """Whether `term` or `after_step` reads the step's projections."""
    only_measures: ClassVar[bool] = False
    """Whether clients train the same with and without it."""
    network: nn.Module | None = None
    """What the rule itself trains beside the model, if `begin` sets it: by an optimiser like the
    client's, which begins anew in each round."""

    def __init__(self, config: ClientRuleConfig):
        self.config = config

    def check(self, client: ClientConfig, objective: Objective) -> None:
        """Raise a ValueError where it makes no sense with such a local update."""

    def start(self, visit: Visit) -> State:
        """Return those tensors from which the client trains in place of the received ones."""
        return {}

    def starts_anew(self, visit: Visit) -> bool:
        """Tell whether the objective's private state, such as a target, is set anew."""
        return False

    def begin(self, visit: Visit, objective: Objective, start: Mapping[str, Tensor]) -> None:
        """Get ready for the steps.

        Parameters
        ----------
        visit : Visit
            The client's round.
        objective : Objective
            Holds the model that is trained, on the device where it is.
        start : Mapping[str, Tensor]
            All federated tensors as the update begins; only to be read.
        """

    def term(self, step: LocalStep) -> Tensor | None:
        """Return what is added to the step's loss, a scalar; None for nothing.

        The training loss that a client reports is the objective's alone.
        """
        return None

    def after_step(self, step: LocalStep) -> None:
        """Act after the optimiser's step."""

    def metrics(self, update: Update) -> dict[str, float | list[float]]:
        """Return what is reported to the server, as `metrics_sent` declares."""
        return {}

    def tensors(self, update: Update) -> State:
        """Return what is sent beside the model, as `tensors_sent` declares."""
        return {}

    def remember(self, update: Update) -> State:
        """Return what this client remembers for its next visit; it never leaves the client.

        A replay asks it of updates in which the rule was not at work: then neither `start` nor
        `begin` was called.
        """
        return {}

    def metrics_sent(
        self, model: Mapping[str, Tensor], parts: ModelParts
    ) -> Mapping[str, ReportedMetric]:
        """Declare what `metrics` returns, of a model whose tensors were sent."""
        return {}

    def tensors_sent(self, model: Mapping[str, Tensor], parts: ModelParts) -> Mapping[str, Tensor]:
        """Declare what `tensors` returns: tensors like these, of the same shapes and types.

        Parameters
        ----------
        model : Mapping[str, Tensor]
            The model's tensors that were sent; their values mean nothing here.
        parts : ModelParts
            What their names mean.
        """
        return {}
