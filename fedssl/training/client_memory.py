"""What a client remembers of its last visit, for the strategy.

It is part of the private client state: it survives between the client's rounds, and never leaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from fedssl.model_state import State, clone

# No tensor of a model has a space in its name.
_OWN = "own "
"""Prefix of the client's own tensors."""
_ROUND = "last round"
_RULE = "rule "
"""Prefix of what a client rule remembers, before the rule's name and a space."""
_OLD = "last moved"
"""What versions before the client rules remembered for all of them."""


@dataclass(frozen=True)
class ClientMemory:
    """What a client remembers."""

    round: int
    """The round of its last visit."""
    own: Mapping[str, Tensor] = field(default_factory=dict)
    """Its own tensors of the model that do not travel in each round, as the visit left them."""
    rules: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """What each client rule remembers, by the rule's name."""

    def to_private(self) -> State:
        """Return it as tensors of the private state; empty where there is nothing to remember."""
        rules = {
            f"{_RULE}{rule} {name}": tensor
            for rule, kept in self.rules.items()
            for name, tensor in kept.items()
        }
        tensors = {_OWN + name: tensor for name, tensor in self.own.items()} | rules
        if not tensors:
            return {}
        # Cloned, so that a few tensors do not keep the memory of the whole model they were part of.
        return {_ROUND: torch.tensor(self.round, dtype=torch.float64), **clone(tensors)}

    @classmethod
    def from_private(cls, private: Mapping[str, Tensor]) -> Self | None:
        """Find it in the private state; None where there is none.

        Raises
        ------
        ValueError
            A version of fedssl that had no client rules wrote it, for such a rule.
        """
        if _ROUND not in private:
            return None
        own: dict[str, Tensor] = {}
        rules: dict[str, dict[str, Tensor]] = {}
        for name, tensor in private.items():
            if name.startswith(_OWN):
                own[name.removeprefix(_OWN)] = tensor
            elif name.startswith(_RULE):
                rule, _, key = name.removeprefix(_RULE).partition(" ")
                rules.setdefault(rule, {})[key] = tensor
        return cls(int(private[_ROUND].item()), own, rules)

    @staticmethod
    def is_old(private: Mapping[str, Tensor]) -> bool:
        """Tell whether a version before the client rules wrote it."""
        return _OLD in private


def without_memory(private: Mapping[str, Tensor]) -> State:
    """Return a private state without what a strategy had the client remember."""
    ours = (_OWN, _RULE, "last ")
    return {name: tensor for name, tensor in private.items() if not name.startswith(ours)}
