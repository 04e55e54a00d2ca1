"""A run whose checkpoint was damaged while it was stopped goes on from the one before."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulations import ConfigError, load_experiment, run
from simulations.progress.display import QuietDisplay
from simulations.record.run_folder import RunFolder
from tests.tools.killed_runs import found_in, write_tiny

pytestmark = pytest.mark.slow


class Said(QuietDisplay):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.rounds: list[Any] = []

    def on_message(self, text: str) -> None:
        self.texts.append(text)

    def on_round_end(self, row: Any) -> None:
        self.rounds.append(row["round"])


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    write_tiny(root)
    run(load_experiment(root / "tiny.yaml"), root / "straight")
    return root / "straight"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def zero_the_tail(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-64] + bytes(64))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def later_round(path: Path) -> None:
    content = json.loads(path.read_text())
    content["round"] += 1
    path.write_text(json.dumps(content))


def earlier_round(path: Path) -> None:
    content = json.loads(path.read_text())
    content["round"] -= 1
    path.write_text(json.dumps(content))


def the_one_before(path: Path) -> None:
    shutil.copy(path.with_name(path.name.replace("2", "1")), path)


def swap(path: Path) -> None:
    other = path.with_name("client-3-round-2.safetensors")
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model-round-2.safetensors", flip),
        ("model-round-2.safetensors", the_one_before),
        ("model-round-2.safetensors", Path.unlink),
        ("strategy-round-2.safetensors", zero_the_tail),
        ("client-3-round-2.safetensors", cut),
        ("client-0-round-2.safetensors", swap),
        ("checkpoint.json", flip),
        ("checkpoint.json", cut),
        ("checkpoint.json", later_round),
        ("checkpoint.json", earlier_round),
        ("checkpoint.json", Path.unlink),
    ],
)
def test_it_goes_on_from_the_one_before_to_the_same_bits(
    straight: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    out, said = tmp_path / "run", Said()
    shutil.copytree(straight, out)
    damage(out / "checkpoint" / name)
    run(load_experiment(straight.parent / "tiny.yaml"), out, resume=True, display=said)
    assert said.rounds == [2]
    assert len(said.texts) == 1
    assert f"the checkpoint is damaged: {name}" in said.texts[0]
    assert "going on from the one before, of round 1" in said.texts[0]
    assert found_in(out) == found_in(straight)


def test_files_of_others_stay(straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(straight, out)
    (out / "checkpoint" / "notes.txt").write_text("mine")
    flip(out / "checkpoint" / "model-round-2.safetensors")
    run(load_experiment(straight.parent / "tiny.yaml"), out, resume=True)
    assert (out / "checkpoint" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        # Of a client that took no part in the last round: both checkpoints need it.
        (["client-1-round-1.safetensors"], r"damaged: client-1-round-1.*no good one before it"),
        (["checkpoint.json", "checkpoint-before.json"], r"damaged: checkpoint\.json is missing"),
        (None, "the checkpoint is missing, although rounds were finished"),
    ],
)
def test_with_none_good_it_is_refused_and_nothing_changes(
    straight: Path, tmp_path: Path, names: list[str] | None, told: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(straight, out)
    if names is None:
        shutil.rmtree(out / "checkpoint")
    for name in names or []:
        (out / "checkpoint" / name).unlink()
    before = found_in(out)
    with pytest.raises(ConfigError, match=told) as error:
        run(load_experiment(straight.parent / "tiny.yaml"), out, resume=True)
    assert "put a copy of it there, or start a new run with another --out" in str(error.value)
    assert "\n" not in str(error.value)
    assert found_in(out) == before
    assert RunFolder(out).read_metrics()[-1]["round"] == 2
