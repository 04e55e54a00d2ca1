"""FedEMA's rule: a client starts from a mix of the global model and its own."""

from typing import Literal

import torch
from pydantic import Field

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import Update, Visit
from fedssl.client_rules.movement import as_number, movement
from fedssl.model_state import State


def own_share(moved: float, scale: float | None, tau: float) -> tuple[float, float | None]:
    """Return FedEMA's μ = min(1, λ·d), and λ = τ/d, which is fixed at its first use.

    Parameters
    ----------
    moved : float
        d: how far the client's encoder moved in its last update.
    scale : float | None
        λ; None before its first use.
    tau : float
        τ: what μ is at its first use.

    Source: Zhuang, Wen and Zhang, "Divergence-aware Federated Self-Supervised Learning", ICLR 2022.
    """
    if scale is None:
        # A client that did not move would fix an infinite λ.
        if moved == 0:
            return 0.0, None
        scale = tau / moved
    return min(1.0, scale * moved), scale


class Mixture(ClientRule):
    """A client starts from a mix of the global model and its own: FedEMA's rule.

    One that was absent in the last round starts from the global model alone, and its target
    network starts anew. A client remembers its parameters, how far it moved, and its λ.
    """

    class Config(ClientRuleConfig):
        """The rule's numbers."""

        name: Literal["fedema"] = "fedema"
        """The rule."""
        tau: Number = Field(0.7, gt=0)
        """τ: the share of its own that a client first starts from."""

    config: Config
    _scale: float | None = None

    def start(self, visit: Visit) -> State:
        """Return μ·own + (1 − μ)·received of all parameters that are trained."""
        memory = visit.memory
        if not memory:
            return {}
        self._scale = memory["scale"].item() if "scale" in memory else None
        # Its own model has become strange to the others': it takes all of theirs.
        if self.starts_anew(visit):
            return {}
        share, self._scale = own_share(memory["moved"].item(), self._scale, self.config.tau)
        received = visit.received
        with torch.no_grad():
            return {
                name: torch.lerp(received[name], memory[name].to(received[name]), share)
                for name in received
                if name in visit.trained
            }

    def starts_anew(self, visit: Visit) -> bool:
        """Tell whether the client was absent in the last round."""
        return bool(visit.memory) and visit.last_round != visit.round - 1

    def remember(self, update: Update) -> State:
        """Return the parameters, how far the encoder moved, and λ once it is fixed."""
        trained = update.visit.trained
        own = {name: tensor for name, tensor in update.after.items() if name in trained}
        facts = {"moved": movement(update.before, update.after, trained)}
        if self._scale is not None:
            facts["scale"] = self._scale
        return own | {name: as_number(value) for name, value in facts.items()}
