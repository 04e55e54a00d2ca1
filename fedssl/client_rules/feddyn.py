"""FedDyn's client rule: a regulariser that brings the clients' optima together."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import ClientRound, LocalStep, Update
from fedssl.client_rules.proximal import squared_distance
from fedssl.model_state import State
from fedssl.objectives.base import Objective


class DynamicRegulariser(ClientRule):
    """Adds FedDyn's regulariser −⟨h[k], w⟩ + α/2·‖w − g‖² to the loss of client k.

    After an update, h[k] ← h[k] − α·(w − g). A client remembers h[k], which starts at 0.
    """

    class Config(ClientRuleConfig):
        """The rule's section of a message."""

        name: Literal["feddyn"] = "feddyn"
        """The name of the rule."""
        alpha: Number = Field(0.01, gt=0)
        """α: the weight of the regulariser."""

    config: Config
    _linear: Mapping[str, Tensor]

    def on_round_start(
        self, client_round: ClientRound, objective: Objective, training_start: Mapping[str, Tensor]
    ) -> None:
        """Read h[k] from the memory."""
        self._linear = {
            n: t for n, t in client_round.memory.items() if n in client_round.trainable_names
        }

    def term(self, step: LocalStep) -> Tensor | None:
        """Return −⟨h[k], w⟩ + α/2·‖w − g‖² over the parameters."""
        term = self.config.alpha * squared_distance(step.weights, step.training_start)
        for name, linear in self._linear.items():
            term = term - (step.weights[name] * linear.to(step.weights[name])).sum()
        return term

    @torch.no_grad()
    def remember(self, update: Update) -> State:
        """Return h[k] after the update."""
        memory = update.client_round.memory
        updated = {}
        for name in update.before:
            if name in update.client_round.trainable_names:
                before, after = update.before[name], update.after[name]
                change = self.config.alpha * (after - before.to(after))
                updated[name] = (memory[name].to(change) if memory else 0) - change
        return updated
