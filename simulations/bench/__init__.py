"""Measure fedssl against references on this machine: ``fedssl bench``.

Each benchmark takes turns with its reference in one run, so that a slow or shared machine affects
both alike. Times are CPU times unless stated otherwise.
"""

from collections.abc import Callable, Mapping

from simulations.bench import (
    central_evaluation,
    checkpoint,
    local_work,
    merge,
    overhead,
    precision,
    reply_check,
)
from simulations.bench.measurement import Measurement, Target

__all__ = ["Benchmark", "Measurement", "Target", "benchmarks", "measure_all"]

Benchmark = Callable[[], list[Measurement]]


def benchmarks(*, quick: bool) -> dict[str, Benchmark]:
    """Return the benchmarks by their descriptions.

    Parameters
    ----------
    quick : bool
        Whether to run fewer and smaller benchmarks, under a minute in all.

    Examples
    --------
    >>> list(benchmarks(quick=True))[:3]
    ['a client-round without local work', 'peak memory', 'views']
    """
    chosen: dict[str, Benchmark] = {
        "a client-round without local work": lambda: overhead.client_rounds(
            10, times=3 if quick else 15
        ),
        "peak memory": lambda: overhead.memory(None if quick else 1_000),
        "views": lambda: local_work.views(1_024 if quick else 4_096, times=3 if quick else 9),
        "a local update of the convnet": lambda: local_work.local_update(
            "convnet", 128 if quick else 512, 64, times=3 if quick else 7
        ),
        "a local update of resnet18": lambda: local_work.local_update(
            "resnet18", 4 if quick else 16, 4 if quick else 16, times=1 if quick else 5
        ),
        "bf16 on the CPU": lambda: precision.on_cpu(4 if quick else 16, times=1 if quick else 5),
        "the check of a reply": lambda: reply_check.a_reply(10, times=3 if quick else 9),
        "L-DAWA": lambda: merge.ldawa(10 if quick else 100, times=3 if quick else 5),
        "features": lambda: central_evaluation.features(1_000 if quick else 12_000, times=3),
        "a checkpoint": lambda: checkpoint.checkpoints(times=5 if quick else 15),
        "a GPU": precision.on_gpu,
    }
    if not quick:
        chosen["probe, kNN and RankMe"] = lambda: central_evaluation.measures(
            10_000, 2_000, times=5
        )
    return chosen


def measure_all(
    chosen: Mapping[str, Benchmark], on_start: Callable[[str], None] = lambda _: None
) -> list[Measurement]:
    """Run all benchmarks one after the other, and return their measurements.

    Parameters
    ----------
    chosen : Mapping[str, Benchmark]
        The benchmarks, for example of `measures`.
    on_start : Callable[[str], None]
        Called with each benchmark's description before it starts.

    Examples
    --------
    >>> mine = {"a sum": lambda: [Measurement("sum", "ms", value=2.0)]}
    >>> [(each.name, each.value) for each in measure_all(mine, on_start=print)]
    a sum
    [('sum', 2.0)]
    """
    measurements = []
    for name, measure in chosen.items():
        on_start(name)
        measurements += measure()
    return measurements
