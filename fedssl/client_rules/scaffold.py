"""SCAFFOLD's client rule: control variates correct the client's gradients."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import ClientRound, LocalStep, Update
from fedssl.config import ClientConfig
from fedssl.model_state import State, TensorRoles, parameter_names
from fedssl.objectives.base import Objective


def step_weights(steps: int, momentum: float, nesterov: bool = False) -> float:
    """Return Σ_j a[j] of SGD: the move of a weight by a constant gradient of 1, in learning rates.

    Parameters
    ----------
    steps : int
        K: the number of steps, starting without momentum.
    momentum : float
        m. If it is 0, the sum is K.
    nesterov : bool (default: False)
        Whether it is Nesterov's momentum.

    Examples
    --------
    >>> step_weights(2, momentum=0.5)
    2.5
    """
    if momentum == 0:
        return float(steps)
    # A gradient also acts in all later steps: 1 + m + m² + …
    sums = [(1 - momentum ** (step + 1)) / (1 - momentum) for step in range(steps)]
    return sum(1 + momentum * value if nesterov else value for value in sums)


class ControlVariates(ClientRule):
    """Adds SCAFFOLD's correction c − c[k], the clients' mean gradient less one's own.

    The term Σ⟨c − c[k], w⟩ has that gradient. After K steps from x to y, c[k]⁺ = c[k] − c +
    (x − y) / (η·Σ_j a[j]), where Σa is K without momentum (`step_weights`). The client sends
    c[k]⁺ − c[k] as extra tensors and remembers c[k], which starts at 0; the strategy sends c.
    """

    class Config(ClientRuleConfig):
        """The rule's section of a message; it has no numbers."""

        name: Literal["scaffold"] = "scaffold"
        """The name of the rule."""

    config: Config
    _corrections: Mapping[str, Tensor]
    _changes: State | None = None

    def check(self, client: ClientConfig, objective: Objective) -> None:
        """Refuse optimisers whose update does not give the mean gradient."""
        if client.optimizer != "sgd":
            raise ValueError(
                f"client.optimizer = {client.optimizer}: scaffold takes a client's mean gradient "
                "from its update, which only sgd allows; use sgd"
            )
        if client.optimizer_state == "kept" and client.momentum:
            raise ValueError(
                "client.optimizer_state = kept: scaffold takes a client's mean gradient from its "
                "update, which would include the momentum of earlier rounds; use fresh"
            )

    def on_round_start(
        self, client_round: ClientRound, objective: Objective, training_start: Mapping[str, Tensor]
    ) -> None:
        """Compute c − c[k] for each trained parameter.

        Raises
        ------
        ValueError
            The strategy did not send c.
        """
        names = [n for n in client_round.received_names if n in client_round.trainable_names]
        if missing := [n for n in names if n not in client_round.extra]:
            raise ValueError(f"the strategy sends no mean gradient of {min(missing)} for scaffold")
        self._corrections = {
            name: control - client_round.memory[name].to(control)
            if client_round.memory
            else control
            for name, control in client_round.extra.items()
            if name in client_round.trainable_names
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
        """Return c[k]⁺ − c[k] = (x − y) / (η·Σa) − c; 0 for parameters that are not trained."""
        if self._changes is not None:
            return self._changes
        client_round = update.client_round
        sgd = client_round.momentum, client_round.nesterov
        scale = client_round.lr * step_weights(update.steps, *sgd)
        changes = {}
        for name, control in client_round.extra.items():
            if name in client_round.trainable_names and scale:
                difference = update.before[name] - update.after[name].to(update.before[name])
                changes[name] = difference / scale - control.to(difference)
            else:
                changes[name] = torch.zeros_like(control)
        # `remember` needs them, too.
        self._changes = changes
        return changes

    def remember(self, update: Update) -> State:
        """Return c[k] after the update."""
        memory = update.client_round.memory
        return {
            name: memory[name].to(change) + change if memory else change
            for name, change in self.tensors(update).items()
        }

    def declared_tensors(
        self, model: Mapping[str, Tensor], roles: TensorRoles
    ) -> Mapping[str, Tensor]:
        """Declare one tensor for each parameter."""
        return {name: model[name] for name in parameter_names(model, roles.buffers)}
