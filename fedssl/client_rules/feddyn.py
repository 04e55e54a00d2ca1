"""FedDyn's rule: a term that makes the clients' optima one, whose strength each client learns."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import LocalStep, Update, Visit
from fedssl.client_rules.proximal import squared_distance
from fedssl.model_state import State
from fedssl.objectives.base import Objective


class DynamicRegulariser(ClientRule):
    """Adds −⟨h[k], w⟩ + α/2·‖w − g‖², where h[k] gathers what a client was held back by: FedDyn's.

    After an update, h[k] ← h[k] − α·(w − g). A client remembers h[k], 0 at first.
    """

    class Config(ClientRuleConfig):
        """The rule's numbers."""

        name: Literal["feddyn"] = "feddyn"
        """The rule."""
        alpha: Number = Field(0.01, gt=0)
        """α: how strongly weights are held."""

    config: Config
    _linear: Mapping[str, Tensor]

    def begin(self, visit: Visit, objective: Objective, start: Mapping[str, Tensor]) -> None:
        """Take h[k] as it is remembered."""
        self._linear = {n: t for n, t in visit.memory.items() if n in visit.trained}

    def term(self, step: LocalStep) -> Tensor | None:
        """Return −⟨h[k], w⟩ + α/2·‖w − g‖² over the parameters."""
        held = self.config.alpha * squared_distance(step.weights, step.start)
        for name, linear in self._linear.items():
            held = held - (step.weights[name] * linear.to(step.weights[name])).sum()
        return held

    @torch.no_grad()
    def remember(self, update: Update) -> State:
        """Return h[k]⁺."""
        memory = update.visit.memory
        kept = {}
        for name in update.before:
            if name in update.visit.trained:
                before, after = update.before[name], update.after[name]
                moved = self.config.alpha * (after - before.to(after))
                kept[name] = (memory[name].to(moved) if memory else 0) - moved
        return kept
