"""Whole experiments under the engine ray: the bits of the engine local, whatever dies or stops."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
import ray

from simulations import ConfigError, load_experiment, run
from simulations.engines import ray_session
from simulations.engines.ray import RayClients
from simulations.engines.ray_session import session
from simulations.settings.engines import RayConfig
from tests.tools.runs import same_result

ROOT = Path(__file__).parents[3]
SMOKE = ROOT / "configs" / "smoke.yaml"
RAY = ("engine.name=ray", "engine.workers=2")

pytestmark = [
    pytest.mark.slow,
    # Ray leaves files open and processes unwaited for, which Python tells only developers.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]


def left_over(mark: str) -> list[str]:
    """Return the commands of living processes that a mark in their environment tells."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark.encode() in (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if marked and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            pass
    return found


def wait_until_nothing_is_left(mark: str, but: str = "nothing else") -> None:
    deadline = time.monotonic() + 20
    while True:
        left = [command for command in left_over(mark) if but not in command]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert left == []


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Mark the processes that are started from here on; all of them inherit it."""
    monkeypatch.setenv("FEDSSL_TEST_MARK", str(tmp_path))
    return f"FEDSSL_TEST_MARK={tmp_path}"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the smoke config under the engine local."""
    folder = tmp_path_factory.mktemp("smoke") / "local"
    run(load_experiment(SMOKE), folder)
    return folder


def test_the_smoke_config_gives_the_same_bits_and_leaves_no_process(
    local: Path, tmp_path: Path, mark: str
) -> None:
    finished = run(load_experiment(SMOKE, RAY), tmp_path / "ray", profile=True)
    assert same_result(local, tmp_path / "ray")
    assert finished.experiment.engine.name == "ray"
    with (tmp_path / "ray" / "profile" / "profile.csv").open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    for row in rows[1:]:
        # What the workers do is not recorded, but how long they were waited for.
        assert row["views"] == row["step"] == 0
        assert row["wait"] > 0.5 * row["clients"] > 0
    assert not ray.is_initialized()
    wait_until_nothing_is_left(mark)


def start(out: Path, *arguments: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulations.cli", "run", *arguments, "--out", str(out)]
    # In a process group of its own, since a terminal's Ctrl-C goes to the whole group.
    return subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_round(out: Path, server_round: int) -> None:
    index = out / "checkpoint" / "checkpoint.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if index.exists() and json.loads(index.read_text())["round"] >= server_round:
            return
        time.sleep(0.01)
    raise TimeoutError(f"round {server_round} was not reached")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_no_process_and_goes_on_under_another_engine(
    local: Path, tmp_path: Path, mark: str, stop: signal.Signals
) -> None:
    process = start(tmp_path / "run", str(SMOKE), *RAY)
    wait_for_round(tmp_path / "run", 1)
    if stop is signal.SIGINT:
        os.killpg(process.pid, stop)
    else:
        process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    if stop is signal.SIGINT:
        assert process.returncode == 130, errors
        assert "--resume" in errors
        assert "Traceback" not in errors
    # Killed without a chance to tidy up, it leaves a folder, and for a minute two idle processes of
    # Ray's.
    wait_until_nothing_is_left(mark, but="Agent" if stop is signal.SIGKILL else "nothing else")
    folders = list(Path("/tmp").glob(f"fedssl-ray-*/ray/session_*_{process.pid}"))
    assert bool(folders) == (stop is signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder.parents[1], ignore_errors=True)
    run(load_experiment(SMOKE), tmp_path / "run", resume=True)
    assert same_result(local, tmp_path / "run")


DIES = """
import os, signal
from pathlib import Path
from fedssl.objectives.byol import BYOL

class Dies(BYOL):
    class Config(BYOL.Config):
        name: str = "mine.Dies"

    def after_step(self, progress):
        super().after_step(progress)
        if 0.25 < progress <= 0.5:
            try:
                os.close(os.open(Path(__file__).with_name("died"), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_is_killed_in_mid_round_changes_no_bit(tmp_path: Path, mark: str) -> None:
    (tmp_path / "mine.py").write_text(DIES)
    kept = ("client.optimizer=adam", "client.optimizer_state=kept")
    arguments = (str(SMOKE), "rounds=4", "objective.name=mine.Dies", *kept)
    process = start(tmp_path / "ray", *arguments, *RAY, cwd=tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    # It died, and dies no more.
    assert (tmp_path / "died").exists()
    process = start(tmp_path / "local", *arguments, cwd=tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert same_result(tmp_path / "local", tmp_path / "ray")


CLUSTER = """
import sys, ray
from ray.util.placement_group import placement_group, remove_placement_group
ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=80_000_000,
         log_to_driver=False, _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
for line in sys.stdin:
    if line.strip() == "take":
        group = placement_group([{"CPU": 1}])
        group.wait(30)
    else:
        remove_placement_group(group)
    print("done", flush=True)
"""


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster with one CPU, in another process that can also take that CPU."""

    process: subprocess.Popen[str]
    address: str

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, folder],
            env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        yield Cluster(process, process.stdout.readline().strip())
        process.communicate(timeout=30)


def cannot_start() -> NoReturn:
    raise OSError("no examples here")


def test_a_cluster_is_joined_used_and_left_as_it_was(
    cluster: Cluster, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ("engine.name=ray", f"engine.address={cluster.address}")
    with pytest.raises(ConfigError, match=r"engine\.workers = 2: .* the cluster at .* has 1 CPUs"):
        run(load_experiment(SMOKE, (*there, "engine.workers=2")), tmp_path / "refused")
    cluster.tell("take")
    monkeypatch.setattr(ray_session, "RESERVE_SECONDS", 1)
    with pytest.raises(ConfigError, match=r"others use it: 0 CPUs"):
        run(load_experiment(SMOKE, there), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    cluster.tell("give")
    monkeypatch.undo()
    engine = RayConfig(device="cpu", address=cluster.address).resolve(1)
    with (
        session(engine, 1, 0) as places,
        pytest.raises(ConfigError, match="a worker cannot start: OSError: no examples here"),
    ):
        RayClients(places, cannot_start, "cpu")
    run(load_experiment(SMOKE, there), tmp_path / "ray")
    assert same_result(local, tmp_path / "ray")
    assert not ray.is_initialized()
    # Its owner still uses it.
    cluster.tell("take")
