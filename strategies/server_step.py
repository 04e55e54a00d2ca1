"""What a strategy is given for a step of its own on the server, after the merge."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedssl.base.seeding import generator, numpy_generator
from fedssl.data import Dataset
from fedssl.model_state import clone, rebind_tensors
from fedssl.models.blueprint import ModelBlueprint
from fedssl.objectives import Objective


@dataclass(frozen=True)
class ServerExamples:
    """Examples of the server's, without labels, and what it takes to train on them.

    On a server of devices they are its own, of the config's ``data``. In a simulation they are the
    clients' own training examples, for there are no others: give ``limit`` to stand for the few
    that a server would have.
    """

    dataset: Dataset
    """What they are taken from."""
    blueprint: ModelBlueprint
    """Of the experiment's model."""
    device: torch.device
    """Where the model is."""

    def draw(self, count: int, purpose: str, server_round: int) -> Tensor:
        """Draw different examples, [M, …] as stored, M at most ``count``: alike for equal seeds."""
        draws = numpy_generator(self.blueprint.config.seed, purpose, server_round)
        total = len(self.dataset)
        rows = np.sort(draws.choice(total, size=min(count, total), replace=False))
        return self.dataset.fetch(rows).to(self.device)

    def generator(self, purpose: str, server_round: int) -> torch.Generator:
        """Return the source of all other draws for a purpose in a round."""
        return generator(self.blueprint.config.seed, purpose, server_round)

    def objective(self, state: Mapping[str, Tensor]) -> Objective:
        """Build the objective with copies of these federated tensors."""
        built = self.blueprint.build().to(self.device)
        rebind_tensors(built, clone(state))
        return built


@dataclass(frozen=True)
class ServerStep:
    """What a strategy may act on once a round's models are merged."""

    round: int
    """From 1."""
    before: Mapping[str, Tensor]
    """The global model that was sent; only to be read."""
    merged: Mapping[str, Tensor]
    """What the replies became; only to be read."""
    examples: ServerExamples | None
    """The server's examples, where the strategy declares that it needs some."""
