"""Real processes that want to write to one run's folder at once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulations import load_experiment, run
from simulations.probing.probe import probe
from simulations.record.lock import LockedError
from simulations.reports.run_report import report
from tests.tools.killed_runs import write_tiny

pytestmark = pytest.mark.slow
ROUNDS = 3000


def fedssl(*arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "simulations.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_row(out: Path, number: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "metrics.jsonl").exists() and len(rounds(out)) > number:
            return
        time.sleep(0.02)
    raise TimeoutError(process.communicate()[1])


def rounds(out: Path) -> list[int]:
    lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line)["round"] for line in lines if line.endswith("\n")]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Yield a process that goes on with a long run in ``run``, which was killed before."""
    write_tiny(tmp_path)
    long = (f"rounds={ROUNDS}", f"evaluation.every={ROUNDS}")
    command = ("run", tmp_path / "tiny.yaml", *long, "--resume", "--out", tmp_path / "run")
    killed = fedssl(*command)
    wait_for_row(tmp_path / "run", 1, killed)
    killed.kill()
    killed.communicate()
    process = fedssl(*command)
    wait_for_row(tmp_path / "run", max(rounds(tmp_path / "run")) + 1, process)
    yield process
    process.kill()
    process.communicate()


def test_of_two_that_go_on_one_is_refused_and_readers_are_not(
    tmp_path: Path, writer: "subprocess.Popen[str]"
) -> None:
    out = tmp_path / "run"
    overrides = [f"rounds={ROUNDS}", f"evaluation.every={ROUNDS}"]
    second = fedssl("run", tmp_path / "tiny.yaml", *overrides, "--resume", "--out", out)
    report(out)
    done, refused = probe(out, ["rankme"])
    assert done[0].measured.figures
    assert not refused
    with pytest.raises(LockedError, match=f"process {writer.pid} on"):
        run(load_experiment(tmp_path / "tiny.yaml", overrides), out)
    _, errors = second.communicate(timeout=120)
    assert writer.poll() is None
    assert second.returncode == 2
    assert errors.startswith(f"error: {out}: process {writer.pid} on ")
    assert errors.count("\n") == 1
    assert f"of {ROUNDS} rounds are done" in (out / "report.html").read_text()
    writer.send_signal(signal.SIGINT)
    writer.communicate(timeout=60)
    assert writer.returncode == 130
    finished = rounds(out)
    assert finished == list(range(len(finished)))
    assert not [name for name in os.listdir(out) if name.startswith(".")]
