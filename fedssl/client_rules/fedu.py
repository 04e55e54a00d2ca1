"""FedU's client rule: a client whose encoder moved far keeps its own predictor."""

from typing import Literal

from pydantic import Field

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import ClientRound, Update
from fedssl.client_rules.movement import movement, number_tensor
from fedssl.model_state import State

PREDICTOR = "predictor."


class KeepPredictor(ClientRule):
    """Keeps a client's own predictor if its last update moved its encoder far, as in FedU.

    A client remembers its predictor, and how far its encoder moved.
    """

    class Config(ClientRuleConfig):
        """The rule's section of a message."""

        name: Literal["fedu"] = "fedu"
        """The name of the rule."""
        threshold: Number = Field(0.4, ge=0)
        """The smallest movement of the encoder at which the client keeps its predictor."""

    config: Config

    def initial_tensors(self, client_round: ClientRound) -> State:
        """Return the client's own predictor if its encoder moved far."""
        if not client_round.memory or client_round.memory["moved"].item() < self.config.threshold:
            return {}
        return {n: t for n, t in client_round.memory.items() if n.startswith(PREDICTOR)}

    def remember(self, update: Update) -> State:
        """Return the predictor and how far the encoder moved."""
        predictor = {n: t for n, t in update.after.items() if n.startswith(PREDICTOR)}
        if not predictor:
            return {}
        distance = movement(update.before, update.after, update.client_round.trainable_names)
        return predictor | {"moved": number_tensor(distance)}
