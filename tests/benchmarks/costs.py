"""One point of growth: what so many clients, parameters or pixels cost, in a process of its own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from fedssl.base.allocator import keep_freed_memory
from fedssl.base.seeding import generator
from fedssl.evaluation.parallel import one_thread
from fedssl.model_state import clone, federated_state
from simulations.bench.setting import NEVER, experiment, idle_server, images, worker
from simulations.bench.timing import cpu_seconds, one_core, peak_above_mb, resident_mb

ENOUGH = 1.5
"""CPU seconds for which a point is measured at least, and twice at least."""
COHORT = 5
"""Clients of a round in which the model's size is looked at."""
BATCH = 16
"""Images of a client, all in one batch, in which the image's side is looked at."""


@dataclass(frozen=True)
class Cost:
    """One measured point."""

    at: int
    """How many clients or parameters, or the image's side in pixels."""
    time: float
    """CPU time, in the unit of its sweep."""
    memory: float | None
    """The peak above the imports in MB; None where Linux cannot tell."""
    views: float | None = None
    """That part of the time which goes into views."""

    def least(self, other: Self) -> Self:
        """Return the lesser of each cost of the same point, measured twice."""
        lesser = {
            name: min(own, beside)
            for name in ("time", "memory", "views")
            if (own := getattr(self, name)) is not None
            and (beside := getattr(other, name)) is not None
        }
        return replace(self, **lesser)


class Wide(nn.Module):
    """Linear layers, nearly all weights in four of them: for models of any size.

    Parameters
    ----------
    width : int
        The features between them: the model has about 4 · width² parameters.
    """

    features = 64

    def __init__(self, width: int):
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(3 * 8 * 8, width), nn.ReLU()]
        for _ in range(4):
            layers += [nn.Linear(width, width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, self.features))

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, 64] of images [B, 3, H, W], which are shrunk to 8×8."""
        return cast(Tensor, self.layers(adaptive_avg_pool2d(images, 8).flatten(1)))


wide_1m = partial(Wide, 470)
wide_3m = partial(Wide, 835)
wide_10m = partial(Wide, 1550)
wide_30m = partial(Wide, 2700)
wide_100m = partial(Wide, 4970)


def of_clients(count: int) -> Cost:
    """Measure a round without local work: CPU seconds, and memory."""
    before = resident_mb()
    config = experiment(evaluation={"every": NEVER})
    with one_core(), idle_server(config, count) as server:
        # The images that were made are the bench's, not a round's.
        forget_peak()
        server.train(1, list(range(min(count, 100))))
        seconds = _repeatedly(lambda: server.train(1, list(range(count))))
    return Cost(count, seconds, peak_above_mb(before))


def of_parameters(encoder: str) -> Cost:
    """Measure a client-round without local work: CPU milliseconds, and memory.

    Parameters
    ----------
    encoder : str
        What `ModelConfig.encoder` allows.
    """
    before = resident_mb()
    config = experiment(model={"encoder": encoder}, evaluation={"every": NEVER})
    with one_core(), idle_server(config, COHORT) as server:
        parameters = sum(t.numel() for t in server.state().values())
        server.train(1, list(range(COHORT)))
        seconds = _repeatedly(lambda: server.train(1, list(range(COHORT))))
    return Cost(parameters, 1000 * seconds / COHORT, peak_above_mb(before))


def of_side(side: int) -> Cost:
    """Measure a local update of the convnet: CPU milliseconds an image, its views, and memory."""
    keep_freed_memory()
    before = resident_mb()
    resident = worker(experiment(client={"batch_size": BATCH}), side)
    shown, labels = images(BATCH, side), torch.full((BATCH,), -1)
    received = clone(federated_state(resident.objective))
    draws = generator(0, "bench views")

    def update() -> None:
        resident.run(shown, labels, received, {}, client=0, server_round=1)

    def views() -> None:
        for _ in range(resident.objective.number_of_views):
            resident.views(shown, draws)

    with one_core(), one_thread():
        forget_peak()
        update()
        of_update, of_views = (1000 * _repeatedly(work) / BATCH for work in (update, views))
    return Cost(side, of_update, peak_above_mb(before), of_views)


def _repeatedly(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of a piece of work: what else the machine does only adds."""
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < ENOUGH:
        seconds.append(cpu_seconds(work))
    return min(seconds)


def forget_peak() -> None:
    """Let the peak memory of this process begin anew, where Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
