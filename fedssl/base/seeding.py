"""Where every random number comes from: a generator per (seed, purpose, round, client).

Two draws with different purposes never share a stream, and no draw depends on how many came
before it elsewhere; so neither the engine nor an interruption can change a bit.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_GLOBAL_GENERATOR = threading.Lock()
"""Workers build their models in threads, but torch has one global generator for all."""


def derive(seed: int, purpose: str, round: int = 0, client: int = 0) -> int:
    """Derive the 63-bit seed of one stream by SHA-256."""
    text = f"{seed}/{purpose}/{round}/{client}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, round: int = 0, client: int = 0) -> torch.Generator:
    """Return a torch generator (on the CPU, whatever the device of the work) for one stream."""
    return torch.Generator().manual_seed(derive(seed, purpose, round, client))


def numpy_generator(
    seed: int, purpose: str, round: int = 0, client: int = 0
) -> np.random.Generator:
    """Return a numpy generator for one stream."""
    return np.random.Generator(np.random.PCG64(derive(seed, purpose, round, client)))


@contextmanager
def initialising(seed: int) -> Iterator[None]:
    """Let torch modules draw their initial weights from the seed, whatever was drawn before.

    Modules initialise themselves from torch's global generator: this is the one place where it
    is used, and its state is put back afterwards.
    """
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "initial weights"))
        yield
