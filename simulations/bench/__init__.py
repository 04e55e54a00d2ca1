"""Measure fedssl against references on this machine: ``fedssl bench``.

Each figure is measured in one run with its reference, in turn, so that a machine that is shared or
slow bears on both alike. Times are CPU times where it is not said otherwise.
"""

from collections.abc import Callable, Mapping

from simulations.bench import checking, merging, overhead, precision, probing, saving, work
from simulations.bench.figure import Figure, Target

__all__ = ["Figure", "Measure", "Target", "measure_all", "measures"]

Measure = Callable[[], list[Figure]]


def measures(*, quick: bool) -> dict[str, Measure]:
    """Return what there is to measure, by a line that says what.

    Parameters
    ----------
    quick : bool
        Fewer and smaller measurements, under a minute in all; some are left out.
    """
    chosen: dict[str, Measure] = {
        "a client-round without local work": lambda: overhead.client_rounds(
            10, times=3 if quick else 15
        ),
        "peak memory": lambda: overhead.memory(None if quick else 1_000),
        "views": lambda: work.views(1_024 if quick else 4_096, times=3 if quick else 9),
        "a local update of the convnet": lambda: work.local_update(
            "convnet", 128 if quick else 512, 64, times=3 if quick else 7
        ),
        "a local update of resnet18": lambda: work.local_update(
            "resnet18", 4 if quick else 16, 4 if quick else 16, times=1 if quick else 5
        ),
        "bf16 on the CPU": lambda: precision.on_cpu(4 if quick else 16, times=1 if quick else 5),
        "the check of a reply": lambda: checking.a_reply(10, times=3 if quick else 9),
        "L-DAWA": lambda: merging.ldawa(10 if quick else 100, times=3 if quick else 5),
        "features": lambda: probing.features(1_000 if quick else 12_000, times=3),
        "a checkpoint": lambda: saving.checkpoints(times=5 if quick else 15),
        "a GPU": precision.on_gpu,
    }
    if not quick:
        chosen["probe, kNN and RankMe"] = lambda: probing.measures(10_000, 2_000, times=5)
    return chosen


def measure_all(
    chosen: Mapping[str, Measure], on_start: Callable[[str], None] = lambda _: None
) -> list[Figure]:
    """Measure everything, one after the other.

    Parameters
    ----------
    chosen : Mapping[str, Measure]
        Such as `measures`.
    on_start : Callable[[str], None]
        Called with the name of each measurement before it.
    """
    figures = []
    for name, measure in chosen.items():
        on_start(name)
        figures += measure()
    return figures
