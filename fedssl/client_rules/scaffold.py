"""SCAFFOLD's rule: steps are corrected by how the client's gradients differ from all clients'."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import LocalStep, Update, Visit
from fedssl.config import ClientConfig
from fedssl.model_state import ModelParts, State, parameters
from fedssl.objectives.base import Objective


def step_weights(steps: int, momentum: float, nesterov: bool = False) -> float:
    """Return Σ_j a[j] of SGD: by how many learning rates a constant gradient of 1 moves a weight.

    Parameters
    ----------
    steps : int
        K: how many steps there are, from a momentum of zero.
    momentum : float
        m. Without it the sum is K.
    nesterov : bool (default: False)
        Whether it is Nesterov's.
    """
    if momentum == 0:
        return float(steps)
    # A gradient goes on in all later steps: 1 + m + m² + …
    behind = [(1 - momentum ** (step + 1)) / (1 - momentum) for step in range(steps)]
    return sum(1 + momentum * value if nesterov else value for value in behind)


class ControlVariates(ClientRule):
    """Corrects each gradient by c − c[k], all clients' mean gradient less one's own: SCAFFOLD's.

    The term Σ⟨c − c[k], w⟩ has that gradient. After K steps from x to y, c[k]⁺ = c[k] − c +
    (x − y) / (η·Σ_j a[j]), where Σa is K without momentum (`step_weights`); c[k]⁺ − c[k] is sent
    beside the model. A client remembers c[k], 0 at first; the strategy sends c.
    """

    class Config(ClientRuleConfig):
        """The rule has no numbers."""

        name: Literal["scaffold"] = "scaffold"
        """The rule."""

    config: Config
    _corrections: Mapping[str, Tensor]
    _changes: State | None = None

    def check(self, client: ClientConfig, objective: Objective) -> None:
        """Refuse optimisers of which an update does not tell the mean gradient."""
        if client.optimizer != "sgd":
            raise ValueError(
                f"client.optimizer = {client.optimizer}: scaffold takes a client's mean gradient "
                "from its update, which only sgd allows; use sgd"
            )
        if client.optimizer_state == "kept" and client.momentum:
            raise ValueError(
                "client.optimizer_state = kept: scaffold takes a client's mean gradient from its "
                "update, which momentum of earlier rounds would be in; use fresh"
            )

    def begin(self, visit: Visit, objective: Objective, start: Mapping[str, Tensor]) -> None:
        """Take c − c[k] of each parameter that is trained.

        Raises
        ------
        ValueError
            The strategy sent no c.
        """
        if lacking := [n for n in visit.sent if n in visit.trained and n not in visit.extra]:
            raise ValueError(f"the strategy sends no mean gradient of {min(lacking)} for scaffold")
        self._corrections = {
            name: control - visit.memory[name].to(control) if visit.memory else control
            for name, control in visit.extra.items()
            if name in visit.trained
        }

    def term(self, step: LocalStep) -> Tensor | None:
        """Return Σ⟨c − c[k], w⟩."""
        products = [
            (step.weights[name] * correction.to(step.weights[name])).sum()
            for name, correction in self._corrections.items()
        ]
        return torch.stack(products).sum()

    @torch.no_grad()
    def tensors(self, update: Update) -> State:
        """Return c[k]⁺ − c[k] = (x − y) / (η·Σa) − c; 0 of what is not trained."""
        if self._changes is not None:
            return self._changes
        visit = update.visit
        length = visit.lr * step_weights(update.steps, visit.momentum, visit.nesterov)
        changes = {}
        for name, control in visit.extra.items():
            if name in visit.trained and length:
                moved = update.before[name] - update.after[name].to(update.before[name])
                changes[name] = moved / length - control.to(moved)
            else:
                changes[name] = torch.zeros_like(control)
        # What is sent is remembered, too, and need not be worked out twice.
        self._changes = changes
        return changes

    def remember(self, update: Update) -> State:
        """Return c[k]⁺."""
        memory = update.visit.memory
        return {
            name: memory[name].to(change) + change if memory else change
            for name, change in self.tensors(update).items()
        }

    def tensors_sent(self, model: Mapping[str, Tensor], parts: ModelParts) -> Mapping[str, Tensor]:
        """Declare a tensor like each parameter."""
        return {name: model[name] for name in parameters(model, parts.buffers)}
