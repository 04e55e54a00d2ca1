"""What a strategy has a client store from round to round, as a part of the private state.

The private state is all that a client stores between its rounds: the objective's private tensors,
the optimiser's tensors, and this memory. It never leaves the client.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from fedssl.model_state import State, clone

# A space marks the names of the private state that are no tensors of a model.
_LOCAL = "own "
"""Prefix of the local tensors."""
_ROUND = "last round"
_RULE = "rule "
"""Prefix of a client rule's tensors, before the rule's name and a space."""
_OLD_FORMAT = "last moved"
"""A name in the memory of versions before the client rules."""


@dataclass(frozen=True)
class ClientMemory:
    """What a strategy has a client store between its rounds.

    Examples
    --------
    >>> memory = ClientMemory(3, {"head.bias": torch.zeros(2)})
    >>> ClientMemory.from_private_state(memory.to_private_state()).last_round
    3
    """

    last_round: int
    """The last round in which the client trained."""
    local_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """The model's tensors that are never sent, or not merged in every round, as the client trained
    them."""
    rules: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """The tensors that each client rule remembers, by the rule's name."""

    def to_private_state(self) -> State:
        """Return the memory as tensors of the private state; empty if there is nothing to store."""
        rules = {
            f"{_RULE}{rule} {name}": tensor
            for rule, remembered in self.rules.items()
            for name, tensor in remembered.items()
        }
        tensors = {_LOCAL + name: tensor for name, tensor in self.local_tensors.items()} | rules
        if not tensors:
            return {}
        # Cloned, so that a few tensors do not keep the memory of the whole model they were part of.
        return {_ROUND: torch.tensor(self.last_round, dtype=torch.float64), **clone(tensors)}

    @classmethod
    def from_private_state(cls, private_state: Mapping[str, Tensor]) -> Self | None:
        """Read the memory from a private state; None if it holds none."""
        if _ROUND not in private_state:
            return None
        local_tensors: dict[str, Tensor] = {}
        rules: dict[str, dict[str, Tensor]] = {}
        for name, tensor in private_state.items():
            if name.startswith(_LOCAL):
                local_tensors[name.removeprefix(_LOCAL)] = tensor
            elif name.startswith(_RULE):
                rule, _, key = name.removeprefix(_RULE).partition(" ")
                rules.setdefault(rule, {})[key] = tensor
        return cls(int(private_state[_ROUND].item()), local_tensors, rules)

    @staticmethod
    def has_old_format(private_state: Mapping[str, Tensor]) -> bool:
        """Return whether a version before the client rules wrote the memory."""
        return _OLD_FORMAT in private_state


def without_memory(private_state: Mapping[str, Tensor]) -> State:
    """Return a private state without the strategy's memory."""
    prefixes = (_LOCAL, _RULE, "last ")
    return {n: tensor for n, tensor in private_state.items() if not n.startswith(prefixes)}
