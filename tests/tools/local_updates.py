"""Local updates on random examples of 16×16 pixels."""

import threading

import torch

from fedssl.config import LearningConfig
from fedssl.model_state import State, clone, federated_state
from fedssl.training.instructions import Instructions
from fedssl.training.local_update import LocalTrainer, LocalUpdate
from tests.tools.blueprints import blueprint

NOTHING = Instructions()


def make_worker(config: LearningConfig) -> tuple[LocalTrainer, State]:
    worker = LocalTrainer(blueprint(config, 16), torch.device("cpu"), threading.Event())
    return worker, clone(federated_state(blueprint(config, 16).build()))


def random_examples(count: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 16, 16), generator=draws, dtype=torch.uint8)


def run_update(
    worker: LocalTrainer,
    received: State,
    count: int = 20,
    private: State | None = None,
    client: int = 0,
    server_round: int = 1,
    instructions: Instructions = NOTHING,
    extra: State | None = None,
) -> LocalUpdate:
    return worker.run(
        random_examples(count, client),
        torch.full((count,), -1),
        received,
        private or {},
        client=client,
        server_round=server_round,
        instructions=instructions,
        extra=extra,
    )
