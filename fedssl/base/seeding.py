"""Generators for all random numbers, one for each (seed, purpose, round, client).

Different purposes never share a generator, and no draw depends on the number of draws elsewhere.
So neither the engine nor an interruption changes a result.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_GLOBAL_GENERATOR = threading.Lock()
"""Guards torch's only global generator: models are also built in threads."""


def derive_seed(seed: int, purpose: str, server_round: int = 0, client: int = 0) -> int:
    """Derive a 63-bit seed with SHA-256.

    Examples
    --------
    >>> derive_seed(0, "cohort", 1)
    4762326231972164591
    """
    text = f"{seed}/{purpose}/{server_round}/{client}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, server_round: int = 0, client: int = 0) -> torch.Generator:
    """Return a torch generator on the CPU, whatever the device of the work.

    Examples
    --------
    >>> first, second = (generator(0, "views", 3, client=1) for _ in range(2))
    >>> torch.equal(torch.rand(4, generator=first), torch.rand(4, generator=second))
    True
    """
    return torch.Generator().manual_seed(derive_seed(seed, purpose, server_round, client))


def numpy_generator(
    seed: int, purpose: str, server_round: int = 0, client: int = 0
) -> np.random.Generator:
    """Return a numpy generator; see `generator`."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, purpose, server_round, client)))


@contextmanager
def seeded_initialisation(seed: int) -> Iterator[None]:
    """Seed the initial weights of the torch modules that are built inside this context.

    Modules draw them from torch's global generator. Only this function uses that generator, and it
    restores the generator's state.

    Examples
    --------
    >>> def build():
    ...     with seeded_initialisation(0):
    ...         return torch.nn.Linear(2, 2)
    >>> torch.equal(build().weight, build().weight)
    True
    """
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "initial weights"))
        yield
