"""The cost of a checkpoint: against writing the tensors without checksums or waiting."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file

from fedssl.model_state import clone, count_bytes, federated_state
from simulations.bench.measurement import Measurement
from simulations.bench.setting import blueprint, experiment
from simulations.bench.timing import compare
from simulations.record.checkpoint import Checkpoint, CheckpointFolder


def checkpoints(times: int) -> list[Measurement]:
    """Measure the wall time of a checkpoint of each model on the current folder's disk."""
    return [_checkpoint(encoder, times) for encoder in ("convnet", "resnet18")]


def _checkpoint(encoder: str, times: int) -> Measurement:
    config = experiment(model={"encoder": encoder})
    state = clone(federated_state(blueprint(config).build()))
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        checkpoints, plain = CheckpointFolder(Path(folder) / "checkpoint"), Path(folder) / "plain"
        number = 0

        def save() -> None:
            nonlocal number
            checkpoints.save(Checkpoint(number, state), changed=set())
            number += 1

        return compare(
            f"a checkpoint, {encoder}, {count_bytes(state) / 1e6:.1f} MB",
            "ms",
            lambda: _milliseconds(save),
            lambda: _milliseconds(lambda: save_file(state, plain)),
            times=times,
            note="the same tensors, without checksums and before they are on the disk",
        )


def _milliseconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begin)
