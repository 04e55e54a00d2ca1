"""Clusters that lose a machine, their head, or all: the run goes on, or ends in a sentence."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from simulations import load_experiment, run
from simulations.engines.ray_errors import WORDS
from tests.tools.runs import same_result

ROOT = Path(__file__).parents[3]
SMOKE = ROOT / "configs" / "smoke.yaml"
SECONDS = 180

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills Ray's own processes"),
]

CLUSTER = """
import json, sys
from ray.cluster_utils import Cluster
more = {"num_cpus": 1, "object_store_memory": 80_000_000}
cluster = Cluster()
nodes = [cluster.add_node(**more, include_dashboard=False, temp_dir=sys.argv[1])]
nodes += [cluster.add_node(**more) for _ in range(int(sys.argv[2]) - 1)]
pids = [{k: v[0].process.pid for k, v in node.all_processes.items()} for node in nodes]
print(json.dumps([cluster.address, pids]), flush=True)
for line in sys.stdin:
    cluster.add_node(**more)
cluster.shutdown()
"""


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster on this machine, each of whose machines has one CPU."""

    process: subprocess.Popen[str]
    address: str
    pids: list[dict[str, int]]
    """Of each machine's processes, by their names."""

    def kill(self, machine: int, name: str) -> None:
        os.kill(self.pids[machine][name], signal.SIGKILL)

    def grow(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("grow\n")
        self.process.stdin.flush()


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, folder, str(request.param)],
            # A killed machine is noticed after a second, not after a quarter of a minute.
            env={**os.environ, "RAY_health_check_period_ms": "200"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        try:
            yield Cluster(process, *json.loads(process.stdout.readline()))
        finally:
            process.communicate(timeout=60)


WAITS = """
import os, time
from pathlib import Path
from fedssl.objectives.byol import BYOL

HERE = Path(__file__).parent

class Waits(BYOL):
    class Config(BYOL.Config):
        name: str = "mine.Waits"

    def after_step(self, progress):
        super().after_step(progress)
        while (HERE / "wait").exists():
            (HERE / f"waits-{os.getpid()}").touch()
            time.sleep(0.02)
"""


@dataclass
class Running:
    """A run in another process, and what it has said so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def until(self, text: str) -> None:
        wait_until(lambda: text in "".join(self.lines) or self.process.poll() is not None)
        assert text in "".join(self.lines), self.lines

    def ended(self) -> str:
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return "".join(self.lines)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass(frozen=True)
class Folder:
    """A folder with an objective that waits in mid-round, while there is a file."""

    path: Path
    overrides: tuple[str, ...] = ("rounds=4", "objective.name=mine.Waits")

    @contextmanager
    def started(self, cluster: Cluster) -> Iterator[Running]:
        command = [sys.executable, "-m", "simulations.cli", "run", str(SMOKE), *self.overrides]
        command += ["engine.name=ray", f"engine.address={cluster.address}"]
        command += ["--out", str(self.path / "run")]
        with subprocess.Popen(
            command,
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield Running(process)
            finally:
                process.kill()

    def hold(self) -> None:
        for mark in self.path.glob("waits-*"):
            mark.unlink()
        (self.path / "wait").touch()

    def wait_for(self, clients: int) -> None:
        wait_until(lambda: len(list(self.path.glob("waits-*"))) == clients)

    def release(self) -> None:
        (self.path / "wait").unlink()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    (tmp_path / "mine.py").write_text(WAITS)
    monkeypatch.syspath_prepend(tmp_path)
    yield Folder(tmp_path)
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("cluster", [2], indirect=True)
def test_a_run_outlives_a_machine_and_tells_the_loss_of_its_own(
    cluster: Cluster, folder: Folder
) -> None:
    folder.hold()
    with folder.started(cluster) as running:
        folder.wait_for(clients=2)
        cluster.kill(1, "raylet")
        running.until("has lost the machine")
        running.until("going on with 1 of 2 workers")
        cluster.grow()
        running.until("going on with 2 of 2 workers")
        folder.release()
        running.until("round 1/4")
        folder.hold()
        folder.wait_for(clients=2)
        cluster.kill(0, "raylet")
        folder.release()
        said = running.ended()
    assert running.process.returncode == 1
    # Noticed in time, or else Ray has ended the process, which nobody can keep it from.
    assert WORDS in said or "no longer part of it" in said
    assert said.count("error:") == said.count("--resume") == 1
    # Neither Python's words nor Ray's.
    assert "Traceback" not in said
    assert "Raylet is terminated" not in said
    assert "failed" not in said
    experiment = load_experiment(SMOKE, folder.overrides)
    run(experiment, folder.path / "run", resume=True)
    run(experiment, folder.path / "local")
    assert same_result(folder.path / "local", folder.path / "run")


# Not in this process: Ray ends one whose cluster has lost its head, a minute later.
@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_a_silent_head_ends_the_run_which_goes_on_elsewhere(
    cluster: Cluster, folder: Folder
) -> None:
    folder.hold()
    with folder.started(cluster) as running:
        folder.wait_for(clients=1)
        folder.release()
        running.until("round 1/4")
        folder.hold()
        folder.wait_for(clients=1)
        cluster.kill(0, "gcs_server")
        said = running.ended()
    folder.release()
    assert running.process.returncode == 1
    assert "the Ray cluster is lost: its head has been silent for" in said
    assert said.count("error:") == said.count("--resume") == 1
    assert "Traceback" not in said
    experiment = load_experiment(SMOKE, folder.overrides)
    run(experiment, folder.path / "run", resume=True)
    run(experiment, folder.path / "local")
    assert same_result(folder.path / "local", folder.path / "run")
