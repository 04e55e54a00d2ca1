"""The cost of merging: L-DAWA against a plain copy of memory."""

import torch

from fedssl.base.allocator import keep_freed_memory
from fedssl.evaluation.parallel import one_thread
from fedssl.model_state import clone, count_bytes
from simulations.bench.measurement import Measurement, Target
from simulations.bench.setting import encoder
from simulations.bench.timing import compare, cpu_seconds
from strategies.divergence import DivergenceFold
from strategies.fold import UpdateSummary
from strategies.ldawa_options import LDAWAOptions

PASSES = 5
"""The memory passes of L-DAWA for each client: reading its model and the global one for δ, then
reading its model, and reading and writing the sum."""


def ldawa(clients: int, times: int) -> list[Measurement]:
    """Measure L-DAWA of ``clients`` ResNet-18 states, in bytes per second, against a copy."""
    keep_freed_memory()
    first = dict(encoder("resnet18").state_dict())
    # Too large together for any cache.
    states = [clone(first) for _ in range(4)]
    size = count_bytes(first)
    source, target = (list(state.values()) for state in states[:2])

    def merge() -> None:
        fold = DivergenceFold(first, LDAWAOptions(), frozenset())
        for number in range(clients):
            fold.add(states[number % len(states)], UpdateSummary(1))
        fold.result()

    def copy() -> None:
        for _ in range(clients):
            torch._foreach_copy_(target, source)

    with one_thread():
        return [
            compare(
                f"L-DAWA of {clients} resnet18 states",
                "GB touched per CPU-s",
                lambda: PASSES * clients * size / cpu_seconds(merge) / 1e9,
                lambda: 2 * clients * size / cpu_seconds(copy) / 1e9,
                times=times,
                target=Target(0.6, at_least=True, of_ratio=True),
                note="a plain copy",
            )
        ]
