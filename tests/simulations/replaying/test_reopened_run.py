"""A run that is opened again for its rounds."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from fedssl.base.config_file import ConfigError
from simulations import load_experiment
from simulations.progress.display import QuietDisplay
from simulations.record.run_folder import RunFolder
from simulations.replaying import replay
from simulations.running.run import run as begin


def timeless(row: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in row.items() if not key.endswith("seconds")}


def test_the_checkpoint_of_a_stopped_run_is_gone_on_from(folder: Path, tmp_path: Path) -> None:
    class Stop(QuietDisplay):
        def on_round_end(self, row: Mapping[str, object]) -> None:
            if row["round"] == 1:
                raise KeyboardInterrupt

    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        begin(load_experiment(folder / "config.yaml"), stopped, display=Stop())
    steps: list[int] = []
    found = replay(stopped, 2, on_progress=lambda done, total, _: steps.append(total))
    assert steps[-1] == 3 + 1
    assert timeless(found.merges[0].row) == timeless(RunFolder(folder).read_metrics()[2])
    shutil.rmtree(stopped / "replays")
    for model in (stopped / "checkpoint").glob("model-*"):
        model.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"damaged.*remove it"):
        replay(stopped, 2)


def test_the_checkpoint_of_a_finished_run_is_not_needed(folder: Path) -> None:
    next((folder / "checkpoint").glob("model-*")).write_bytes(b"damaged")
    assert replay(folder, 1).notes == []


def test_a_round_that_cannot_be_made_again_is_told(folder: Path) -> None:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    row = json.loads(lines[1])
    row["train_loss"] += 0.5
    (folder / "metrics.jsonl").write_text("\n".join([lines[0], json.dumps(row), *lines[2:], ""]))
    notes = replay(folder, 1).notes
    assert len(notes) == 1
    assert "another train_loss" in notes[0]


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        replay(tmp_path, 1)
