"""Kill one tiny run at every change that it makes on disk, and at random moments, and resume it.

``python -m tests.tools.killed_runs FOLDER`` prints what came of it as JSON. It is a process of
its own, so that it can fork: each run is then a process, too, but has nothing to import.
"""

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from simulations import load_experiment, run
from simulations.record.run_folder import RunFolder
from simulations.reports import run_report as reporting

CONFIG = """
seed: 3
rounds: 2
participation: 0.5
data: {name: npz, train: train.npz, test: test.npz}
partition: {name: iid, clients: 4}
model: {encoder: tests.tools.killed_runs.Small, projector: [16, 8]}
objective: {name: byol, predictor_width: 16}
client: {batch_size: 8, lr: 0.05}
strategy: {name: fedavgm}
evaluation: {every: 2, l2: 10.0}
engine: {name: local, device: cpu, workers: 1}
"""
MOMENTS = 20
"""At how many random moments the run is killed."""
PARTS = 2
"""How many runs there are at once."""
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


class Small(nn.Module):
    """An encoder with all kinds of tensors, which costs nearly nothing."""

    features = 8

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.weights = nn.Linear(3 * 4 * 4, self.features)
        self.norm = nn.BatchNorm1d(self.features)

    def forward(self, examples: Tensor) -> Tensor:
        return cast(Tensor, self.norm(self.weights(self.pool(examples).flatten(1))))


class Killer:
    """Ends this process just before its n-th change below a folder, counted from 1.

    What is written is counted where it would be brought to the disk, and the process then ends with
    a part of it written. It is not brought there: a kill leaves what the system holds in memory.
    """

    def __init__(self) -> None:
        self.below = ""
        self.at = 0
        self.seen: list[str] = []
        self.sizes: dict[str, int] = {}
        sys.addaudithook(self._audit)
        os.fsync = self._sync  # type: ignore[assignment]

    def watch(self, below: Path, at: int) -> None:
        """Begin to count; at 0 nothing is ended."""
        self.below, self.at, self.seen = str(below), at, []
        for path in below.rglob("*"):
            self.sizes[str(path)] = path.stat().st_size

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.below:
            return
        # Temporary files are counted once something is in them.
        if event in CHANGES or (
            event == "open"
            and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            and not str(arguments[0]).endswith(".writing")
        ):
            self._count(event, str(arguments[0]))

    def _sync(self, file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}") if self.below else ""
        if not os.path.isfile(path):
            return
        size, before = os.stat(path).st_size, self.sizes.get(path, 0)
        self.sizes[path] = size
        if size > before:
            self._count("part", path, lambda: os.truncate(path, max(before, size - 7)))

    def _count(self, event: str, path: str, before: Callable[[], object] = lambda: None) -> None:
        if not path.startswith(self.below):
            return
        self.seen.append(f"{event} {path.removeprefix(self.below)}")
        if len(self.seen) == self.at:
            self.below = ""
            before()
            os.kill(os.getpid(), signal.SIGKILL)


def write_tiny(root: Path) -> None:
    """Write an experiment of a fraction of a second, `tiny.yaml`, and its examples."""
    draws = np.random.default_rng(0)
    for name, count in (("train.npz", 24), ("test.npz", 12)):
        examples = draws.integers(0, 255, (count, 8, 8, 3)).astype(np.uint8)
        np.savez(root / name, images=examples, labels=np.arange(count) % 3)
    (root / "tiny.yaml").write_text(CONFIG)


def fork(work: Callable[[], object]) -> int:
    """Do something in a fork of this process; return its number."""
    assert threading.active_count() == 1
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def in_child(work: Callable[[], object], kill_after: float | None = None) -> bool:
    """Do something in a fork of this process; say whether it was killed.

    Raises
    ------
    RuntimeError
        It failed.
    """
    child = fork(work)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise RuntimeError("the run failed; see above")
    return False


def found_in(out: Path) -> dict[str, object]:
    """Return all that two runs must have in common."""
    folder = RunFolder(out)
    return {
        "model": folder.model.read_bytes(),
        "rows": [
            {k: v for k, v in row.items() if not k.endswith("seconds")}
            for row in folder.read_metrics()
        ],
        "divergence": folder.divergence.read_text(),
        "partition": folder.partition.read_text(),
        "predictions": {k: v.tolist() for k, v in folder.read_predictions().items()},
        "summary": json.loads(folder.summary.read_text())["final"],
        "names": sorted(str(path.relative_to(out)) for path in out.rglob("*")),
    }


def main(root: Path) -> dict[str, Any]:
    """Return for each kill whether it met the run, and what of the resumed one is another."""
    torch.set_num_threads(1)
    write_tiny(root)
    experiment = load_experiment(root / "tiny.yaml")
    # What pictures show is not the matter here, and drawing them takes most of the time.
    reporting._figures = lambda records: {
        name: Figure(figsize=(0.1, 0.1)) for name in ("progress", "partition", "divergence")
    }
    killer = Killer()

    def go_on(out: Path, at: int = 0) -> None:
        killer.watch(out, at)
        run(experiment, out, resume=True)

    def note(out: Path) -> None:
        go_on(out)
        (root / "changes.json").write_text(json.dumps(killer.seen))

    straight = root / "straight"
    begin = time.perf_counter()
    in_child(lambda: note(straight))
    duration = time.perf_counter() - begin
    wanted, changes = found_in(straight), json.loads((root / "changes.json").read_text())

    def kill(out: Path, at: int) -> bool:
        return in_child(lambda: go_on(out, at))

    def kill_again(out: Path, at: int) -> bool:
        shutil.copytree(stopped, out)
        return kill(out, at)

    def kill_after(out: Path, seconds: float) -> bool:
        # Not every run takes as long as the first.
        while not in_child(lambda: go_on(out), seconds):
            shutil.rmtree(out)
            seconds *= 0.8
        return True

    # A run that goes on after a kill, and is killed before it has written a checkpoint.
    stopped = root / "stopped"
    kill(stopped, max(n for n, change in enumerate(changes, start=1) if "metrics" in change))
    moments = random.Random(0)
    jobs: dict[str, Callable[[Path], bool]] = {
        **{f"{n} {c}": partial(kill, at=n) for n, c in enumerate(changes, start=1)},
        **{f"again {n}": partial(kill_again, at=n) for n in range(1, 11)},
        **{
            f"after {seconds:.3f} s, {number}": partial(kill_after, seconds=seconds)
            for number, seconds in enumerate(moments.uniform(0, duration) for _ in range(MOMENTS))
        },
    }

    def do(part: int) -> None:
        done = {}
        for number, (what, work) in list(enumerate(jobs.items()))[part::PARTS]:
            out = root / f"run-{number}"
            killed, other = work(out), []
            try:
                in_child(lambda out=out: go_on(out))  # type: ignore[misc]
                found = found_in(out)
                other = [name for name in wanted if found[name] != wanted[name]]
            except Exception as error:
                other = [repr(error)]
            shutil.rmtree(out)
            done[what] = {"killed": killed, "other": other}
        (root / f"done-{part}.json").write_text(json.dumps(done))

    parts = [fork(partial(do, part)) for part in range(PARTS)]
    for part in parts:
        os.waitpid(part, 0)
    done: dict[str, Any] = {}
    for part in range(PARTS):
        done |= json.loads((root / f"done-{part}.json").read_text())
    return {"duration": duration, "done": done}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
