"""A real process, stopped by real signals: what it had finished is kept, and resuming is exact."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"

pytestmark = pytest.mark.slow


def start(out: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulations.cli", "run", str(SMOKE), "--out", str(out)]
    return subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)


def wait_for_round(out: Path, server_round: int) -> None:
    index = out / "checkpoint" / "checkpoint.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if index.exists() and json.loads(index.read_text())["round"] >= server_round:
            return
        time.sleep(0.01)
    raise TimeoutError(f"round {server_round} was not reached")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("straight") / "run"
    process = start(out)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return (out / "model.safetensors").read_bytes()


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_process_resumes_to_the_same_model(
    tmp_path: Path, straight: bytes, stop: signal.Signals
) -> None:
    out = tmp_path / "run"
    process = start(out)
    wait_for_round(out, 1)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    if stop is signal.SIGINT:
        assert process.returncode == 130
        assert "--resume" in errors
    assert not (out / "model.safetensors").exists()
    process = start(out, "--resume")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert (out / "model.safetensors").read_bytes() == straight
