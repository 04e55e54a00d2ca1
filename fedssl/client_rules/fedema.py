"""FedEMA's client rule: a client starts from a mix of the global model and its own last model."""

from typing import Literal

import torch
from pydantic import Field

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import ClientRound, Update
from fedssl.client_rules.movement import movement, number_tensor
from fedssl.model_state import State


def mixing_weight(distance: float, scale: float | None, tau: float) -> tuple[float, float | None]:
    """Return FedEMA's μ = min(1, λ·d) and λ, which is set to τ/d at its first use.

    Parameters
    ----------
    distance : float
        d: how far the client's encoder moved in its last update; see `movement`.
    scale : float | None
        λ; None before its first use.
    tau : float
        τ: the value of μ at the first use.

    Examples
    --------
    >>> mixing_weight(2.0, None, tau=0.5)
    (0.5, 0.25)
    >>> mixing_weight(3.0, 0.25, tau=0.5)
    (0.75, 0.25)

    Source: Zhuang, Wen and Zhang, "Divergence-aware Federated Self-Supervised Learning", ICLR 2022.
    """
    if scale is None:
        # A client that did not move would fix an infinite λ.
        if distance == 0:
            return 0.0, None
        scale = tau / distance
    return min(1.0, scale * distance), scale


class Mixture(ClientRule):
    """Starts a client from a mix of the global model and its own last model, as in FedEMA.

    A client that was absent in the last round starts from the global model alone, and its target
    network is reset. A client remembers its parameters, how far its encoder moved, and its λ.
    """

    class Config(ClientRuleConfig):
        """The rule's section of a message."""

        name: Literal["fedema"] = "fedema"
        """The name of the rule."""
        tau: Number = Field(0.7, gt=0)
        """τ: the weight of the client's own model at the first mixing."""

    config: Config
    _scale: float | None = None

    def initial_tensors(self, client_round: ClientRound) -> State:
        """Return μ·remembered + (1 − μ)·received for all trained parameters."""
        memory = client_round.memory
        if not memory:
            return {}
        self._scale = memory["scale"].item() if "scale" in memory else None
        # Its own model is too old to be mixed with the global model.
        if self.resets_private_state(client_round):
            return {}
        distance = memory["moved"].item()
        weight, self._scale = mixing_weight(distance, self._scale, self.config.tau)
        received = client_round.round_start
        with torch.no_grad():
            return {
                name: torch.lerp(received[name], memory[name].to(received[name]), weight)
                for name in received
                if name in client_round.trainable_names
            }

    def resets_private_state(self, client_round: ClientRound) -> bool:
        """Return whether the client was absent in the last round."""
        return (
            bool(client_round.memory) and client_round.last_round != client_round.server_round - 1
        )

    def remember(self, update: Update) -> State:
        """Return the parameters, how far the encoder moved, and λ once it is set."""
        names = update.client_round.trainable_names
        parameters = {name: tensor for name, tensor in update.after.items() if name in names}
        numbers = {"moved": movement(update.before, update.after, names)}
        if self._scale is not None:
            numbers["scale"] = self._scale
        return parameters | {name: number_tensor(value) for name, value in numbers.items()}
