"""The input of a strategy's own step on the server, after the merge."""

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
    """Unlabelled examples on the server, with what is needed to train on them.

    On a server of devices they are its own, of the config's ``data``. In a simulation they are the
    clients' own training examples, for there are no others: give ``limit`` to stand for the few
    that a server would have.
    """

    dataset: Dataset
    """The data set that examples are taken from."""
    blueprint: ModelBlueprint
    """The blueprint of the experiment's model."""
    device: torch.device
    """The device of the model."""

    def draw(self, count: int, purpose: str, server_round: int) -> Tensor:
        """Draw different examples, [M, …] as stored, M ≤ ``count``; equal seeds give equal ones."""
        random = numpy_generator(self.blueprint.config.seed, purpose, server_round)
        total = len(self.dataset)
        rows = np.sort(random.choice(total, size=min(count, total), replace=False))
        return self.dataset.fetch(rows).to(self.device)

    def generator(self, purpose: str, server_round: int) -> torch.Generator:
        """Return the random generator for another purpose in a round."""
        return generator(self.blueprint.config.seed, purpose, server_round)

    def objective(self, state: Mapping[str, Tensor]) -> Objective:
        """Build the objective with copies of these federated tensors."""
        built = self.blueprint.build().to(self.device)
        rebind_tensors(built, clone(state))
        return built


@dataclass(frozen=True)
class ServerStep:
    """The state of a round after the merge, from which a server step starts."""

    round: int
    """The number of the round, from 1."""
    before: Mapping[str, Tensor]
    """The global model that was sent; do not modify it."""
    merged: Mapping[str, Tensor]
    """The merged model; do not modify it."""
    examples: ServerExamples | None
    """The server's examples, where the strategy declares that it needs some."""
