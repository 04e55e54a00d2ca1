"""What a client remembers of its last visit, for strategies that ask for it.

It is part of the private client state: it survives between the client's rounds, and never leaves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from fedssl.asked import Asked
from fedssl.state import State, clone

_OWN = "own "
"""Prefix of the client's own tensors in the private state: no tensor of a model has a space."""
_FACT = "last "
"""Prefix of the numbers."""


@dataclass(frozen=True)
class LastVisit:
    """A client's last visit."""

    round: int
    """In which round it was."""
    moved: float
    """How far the encoder moved: see `receive.movement`."""
    scale: float | None = None
    """FedEMA's λ, once it is fixed."""
    own: Mapping[str, Tensor] = field(default_factory=dict)
    """The client's own tensors at its end, as far as they will be asked for."""

    def to_private(self) -> State:
        """Return it as tensors of the private state; float64, so that no number is rounded."""
        facts = {"round": float(self.round), "moved": self.moved}
        if self.scale is not None:
            facts["scale"] = self.scale
        tensors = {_FACT + n: torch.tensor(v, dtype=torch.float64) for n, v in facts.items()}
        # Cloned, so that a few tensors do not keep the memory of the whole model they were part of.
        return tensors | {_OWN + name: tensor for name, tensor in clone(self.own).items()}

    @classmethod
    def from_private(cls, private: Mapping[str, Tensor]) -> Self | None:
        """Find it in the private state; None where there is none."""
        if f"{_FACT}round" not in private:
            return None
        scale = private.get(f"{_FACT}scale")
        return cls(
            round=int(private[f"{_FACT}round"].item()),
            moved=private[f"{_FACT}moved"].item(),
            scale=None if scale is None else scale.item(),
            own={n.removeprefix(_OWN): t for n, t in private.items() if n.startswith(_OWN)},
        )


def without_last_visit(private: Mapping[str, Tensor]) -> State:
    """Return a private state without what a strategy had the client remember."""
    return {n: t for n, t in private.items() if not n.startswith((_FACT, _OWN))}


def to_remember(asked: Asked, state: Mapping[str, Tensor], parameters: Iterable[str]) -> State:
    """Choose what a client must remember of its model, to do what it is asked for next time.

    Parameters
    ----------
    asked : Asked
        What it is asked for now.
    state : Mapping[str, Tensor]
        All federated tensors at the end of its update.
    parameters : Iterable[str]
        The names of those that are trained.
    """
    wanted = {*asked.local, *asked.scheduled}
    prefixes: tuple[str, ...] = ()
    if asked.fedema_tau is not None:
        wanted |= set(parameters)
    if asked.fedu_threshold is not None:
        prefixes += ("predictor.",)
    if asked.moon_mu:
        prefixes += ("encoder.", "projector.")
    return {n: t for n, t in state.items() if n in wanted or n.startswith(prefixes)}
