"""Measure fedssl against references on this machine: ``fedssl bench``.

Each figure is measured in one run with its reference, in turn, so that a machine that is shared or
slow bears on both alike. Times are CPU times where it is not said otherwise.
"""

from collections.abc import Callable, Iterable, Sequence

from simulations.bench import (
    against,
    checking,
    measuring,
    merging,
    million,
    overhead,
    precision,
    probing,
    saving,
    work,
)
from simulations.bench.figure import Figure, Target

__all__ = ["Figure", "Target", "bench", "measures"]

Measure = Callable[[], list[Figure]]


def measures(*, quick: bool, peers: Iterable[str] = ()) -> dict[str, Measure]:
    """Return what there is to measure, by a line that says what.

    Parameters
    ----------
    quick : bool
        Fewer and smaller measurements, under a minute in all; some are left out.
    peers : Iterable[str]
        Names of `against.PEERS`; those that are not installed make a figure that says so.
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
        chosen["every measure"] = lambda: measuring.each_measure(10_000, 512, times=3)
    chosen["a million clients"] = million.start
    for name in peers:
        missing, measure = against.PEERS[name]
        reason = missing()
        if reason is None:
            chosen[f"against {name}"] = measure
        else:
            skipped = Figure(f"against {name}", "", note=f"not measured: {reason}")
            chosen[f"against {name}"] = lambda skipped=skipped: [skipped]  # type: ignore[misc]
    return chosen


def bench(
    *,
    quick: bool = False,
    peers: Sequence[str] = (),
    began: Callable[[str], None] = lambda _: None,
) -> list[Figure]:
    """Measure everything, one after the other.

    Parameters
    ----------
    quick, peers
        See `measures`.
    began : Callable[[str], None]
        Told of each measurement as it begins.
    """
    figures = []
    for name, measure in measures(quick=quick, peers=peers).items():
        began(name)
        figures += measure()
    return figures
