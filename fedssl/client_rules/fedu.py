"""FedU's rule: a client that moved far keeps its own predictor."""

from typing import Literal

from pydantic import Field

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import Update, Visit
from fedssl.client_rules.movement import as_number, movement
from fedssl.model_state import State

PREDICTOR = "predictor."


class KeepPredictor(ClientRule):
    """A client whose last update moved its encoder far keeps its own predictor: FedU's rule.

    A client remembers its predictor, and how far it moved.
    """

    class Config(ClientRuleConfig):
        """The rule's numbers."""

        name: Literal["fedu"] = "fedu"
        """The rule."""
        threshold: Number = Field(0.4, ge=0)
        """How far an encoder must have moved for the predictor to stay."""

    config: Config

    def start(self, visit: Visit) -> State:
        """Return the client's own predictor, if it moved far."""
        if not visit.memory or visit.memory["moved"].item() < self.config.threshold:
            return {}
        return {n: t for n, t in visit.memory.items() if n.startswith(PREDICTOR)}

    def remember(self, update: Update) -> State:
        """Return the predictor, and how far the encoder moved."""
        own = {n: t for n, t in update.after.items() if n.startswith(PREDICTOR)}
        if not own:
            return {}
        moved = movement(update.before, update.after, update.visit.trained)
        return own | {"moved": as_number(moved)}
