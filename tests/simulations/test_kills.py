"""A run that is killed at any change that it makes on disk, or at any moment, loses nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.killed_runs import MOMENTS


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_run_that_is_killed_anywhere_resumes_to_the_same_bits(tmp_path: Path) -> None:
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.killed_runs", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=550,
        env={**os.environ, **one},
    )
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)["done"]
    assert {what: kill["other"] for what, kill in kills.items() if kill["other"]} == {}
    assert [what for what, kill in kills.items() if not kill["killed"]] == []
    assert sum(what.startswith("after") for what in kills) == MOMENTS
    told = " ".join(kills)
    for name in (
        "config.yaml",
        "metrics.jsonl",
        "divergence.csv",
        "predictions.npz",
        "client-3-round-2.safetensors",
        "checkpoint.json",
        "checkpoint-before.json",
        "model.safetensors",
        "summary.json",
        "progress.png",
        "report.html",
        ".lock",
    ):
        assert name in told, f"the run was never killed at {name}"
