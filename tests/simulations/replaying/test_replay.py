"""A round's replies merged again: as the run did, and by other strategies."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fedssl import load_encoder
from fedssl.base.config_file import ConfigError
from fedssl.model_state import load_state
from simulations.cli import app
from simulations.record.run_folder import RunFolder
from simulations.replaying import Merge, Replay, replay
from simulations.replaying.kept_round import KeptRound
from strategies import ldawa
from tests.tools.replayed_runs import make_run


def digests(folder: Path) -> dict[Path, str]:
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "replays" not in path.parts
    }


def only(replayed: Replay, strategy: str) -> Merge:
    return next(merged for merged in replayed.merges if merged.strategy == strategy)


def timeless(row: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in row.items() if not key.endswith("seconds")}


def test_the_runs_own_strategy_makes_of_a_round_what_it_made(folder: Path) -> None:
    before = digests(folder)
    found = replay(folder, 2, rounds=1)
    assert found.notes == []
    rows = RunFolder(folder).read_metrics()
    own = found.merges[0]
    # BYOL's targets and the server's momentum are as they were, or round 3 would differ.
    assert timeless(own.row) == timeless(rows[2])
    assert timeless(own.after[0]) == timeless(rows[3])
    assert own.step.direction == pytest.approx(1)
    assert own.difference is None
    assert digests(folder) == before


def test_the_last_rounds_merge_is_the_runs_model(folder: Path) -> None:
    merged = replay(folder, 3).merges[0]
    ours, theirs = load_state(merged.model)[0], load_state(folder / "model.safetensors")[0]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    load_encoder(merged.model)


def test_every_strategy_merges_the_same_replies(folder: Path) -> None:
    found = replay(folder, 2, "uniform(warmup_rounds=0),ldawa(warmup_rounds=0),fedavg")
    kept_round = KeptRound(folder / "replays" / "round-2")
    before = kept_round.checkpoint().model
    clients = list(kept_round.models())
    assert [client for client, *_ in clients] == kept_round.cohort
    buffers = frozenset(n for n in before if n.endswith(("running_mean", "running_var")))
    for strategy in ("uniform", "ldawa"):
        expected = ldawa.merge(
            before, [m for *_, m in clients], [n for _, n, _ in clients],
            preset=strategy, buffers=buffers,
        )  # fmt: skip
        model = load_state(only(found, f"{strategy}(warmup_rounds=0)").model)[0]
        for name, tensor in model.items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)
    first, other = found.merges[:2]
    assert first.difference is None
    assert other.difference is not None
    points = 100 * (other.row["linear_accuracy"] - first.row["linear_accuracy"])
    assert other.difference.points == pytest.approx(points)
    assert other.difference.low <= points + 1e-9
    assert other.difference.high >= points - 1e-9
    assert other.step.norm < first.step.norm
    assert [m["strategy"] for m in json.loads(found.file.read_text())["merges"]] == [
        m.strategy for m in found.merges
    ]
    assert found.picture.read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"), "fedavg", "strategy.name=fedavg")


@pytest.mark.parametrize(
    ("strategy", "fields"),
    [
        ("fedbn", []),
        pytest.param("fedema", [], marks=pytest.mark.slow),
        pytest.param(
            "layer-schedule",
            ["every={projector: 0, encoder.layers.0: 2}"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_clients_go_on_as_under_the_strategy(
    strategy: str, fields: list[str], plain: Path, tmp_path: Path
) -> None:
    # In round 1 all of these have the same replies, so from there on their runs come out.
    names = [f"strategy.{field}" for field in (f"name={strategy}", *fields)]
    expected = RunFolder(make_run(tmp_path, "theirs", "evaluation.every=1", *names)).read_metrics()
    found = replay(plain, 1, f"{strategy}({','.join(fields)})" if fields else strategy, rounds=2)
    rows = [found.merges[0].row, *found.merges[0].after]
    for name in ("train_loss", "rankme", "linear_accuracy"):
        assert [row[name] for row in rows] == [row[name] for row in expected[1:]]


def test_replies_are_made_once(folder: Path) -> None:
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int, text: str) -> None:
        seen.append((done, total))

    replay(folder, 2, on_progress=note)
    assert seen[-1] == (7, 7)  # Two rounds of three clients, and a merge.
    seen.clear()
    replay(
        folder, 2, "median,fedavg", on_progress=lambda done, total, _: seen.append((done, total))
    )
    assert seen[-1] == (2, 2)


def test_a_later_round_goes_on_from_an_earlier_one(folder: Path, made: Path) -> None:
    replay(folder, 2)
    steps: list[int] = []
    found = replay(folder, 3, on_progress=lambda done, total, _: steps.append(total))
    # Round 2's replies are there, round 3's are not.
    assert steps[-1] == len(steps) == 3 + 1
    assert timeless(found.merges[0].row) == timeless(RunFolder(made).read_metrics()[3])


def test_a_strategy_that_needs_more_than_the_replies_has_them_made_again(folder: Path) -> None:
    before = replay(folder, 1).merges[0].row
    found = replay(folder, 1, "fedavgm,elastic")
    assert found.merges[0].row["train_loss"] == before["train_loss"]
    assert found.merges[0].row["linear_accuracy"] == before["linear_accuracy"]
    assert found.merges[1].step.direction < 1


def test_what_stays_on_clients_is_taken_out_of_the_replies(folder: Path) -> None:
    found = replay(folder, 2, "fedavg,fedbn,fedlama")
    kept_round = KeptRound(folder / "replays" / "round-2").checkpoint().model
    merged = load_state(only(found, "fedbn").model)[0]
    names = [n for n in merged if n.endswith("weight") and merged[n].dim() == 1]
    assert names
    assert all(torch.equal(merged[name], kept_round[name]) for name in names)


@pytest.mark.slow
def test_momentum_that_is_written_to_in_place_is_that_of_before(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", "strategy.name=tests.tools.replayed_strategies.InPlace")
    found = replay(run, 2)
    assert timeless(found.merges[0].row) == timeless(RunFolder(run).read_metrics()[2])
    assert found.notes == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, "fedavg", 0), "--round 0: the run has rounds 1 to 3"),
        ((4, "fedavg", 0), "--round 4: the run has rounds 1 to 3"),
        ((2, "fedavg", 2), "--rounds 2: after round 2 the run has 1 more"),
        ((2, "fedavgg", 0), "fedavg"),
        ((2, "", 0), "is no strategy"),
        ((2, "bulyan", 0), "needs at least"),
        ((2, "elastic,elastic(decay=0.5)", 0), "measure the sensitivity in different ways"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(
    folder: Path, arguments: tuple[int, str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        replay(folder, *arguments)
    assert not (folder / "replays").exists()


@pytest.mark.slow
def test_examples_without_labels_are_replayed(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", "rounds=2")
    with np.load(tmp_path / "test.npz") as file:
        examples = file["images"]
    np.savez(tmp_path / "test.npz", images=examples)
    found = replay(run, 1, "fedavg,median", rounds=1)
    assert (found.merges[1].difference, found.merges[1].last_difference) == (None, None)
    assert found.merges[1].row["rankme"] > 0
    assert found.notes == []


def test_the_command_prints_a_table(folder: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["replay", str(folder), "--round", "2", "--strategies", "fedavg,median", "--rounds", "1"],
    )
    assert result.exit_code == 0, result.output
    assert "round 3" in result.stdout
    assert "replay.png" in result.stdout
