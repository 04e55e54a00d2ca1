"""Every objective through three rounds of the engine `local`, on the built-in examples."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from fedssl.base.config_file import ConfigError, validate
from fedssl.modalities.image.vit import VisionTransformer
from fedssl.objectives import OBJECTIVES
from simulations import Experiment, run
from simulations.record.run_folder import RunFolder
from tests.tools.runs import StopsAfter, same_result

TERMS = {"simclr and terms": [{"name": "e-ssl", "width": 16}, {"name": "e2mc", "begin": 0.5}]}


def tiny_vit() -> nn.Module:
    return VisionTransformer(patch=8, width=12, depth=1, heads=3)


def experiment(name: str) -> Experiment:
    objective: dict[str, object] = {"name": name.split()[0], "terms": TERMS.get(name, [])}
    # More examples than features, as whitening needs.
    objective |= {"sub_batch": 10} if name == "w-mse" else {}
    encoder = f"{__name__}.tiny_vit" if name == "mae" else "tests.tools.objectives.TinyEncoder"
    values = {
        "rounds": 3,
        "participation": 0.7,
        "data": {"name": "glyphs", "limit": {"train": 60, "test": 20}},
        "partition": {"name": "iid", "clients": 3},
        "model": {"encoder": encoder, "projector": [8]},
        "objective": objective,
        # The probe would take most of the time.
        "evaluation": {"every": 3, "l2": 1.0},
        "client": {"batch_size": 10, "lr": 0.02},
        "engine": {"name": "local", "device": "cpu", "workers": 1},
    }
    return validate(Experiment, values, base=Path(), source="test")


pytestmark = pytest.mark.usefixtures("without_report")


@pytest.mark.parametrize("name", [*OBJECTIVES, *TERMS])
def test_three_rounds(name: str, tmp_path: Path) -> None:
    finished = run(experiment(name), tmp_path / "run")
    rows = finished.metrics
    assert [row["round"] for row in rows] == [0, 1, 2, 3]
    assert all(row["failed"] == [] for row in rows)
    assert all(math.isfinite(row["train_loss"]) for row in rows[1:])
    assert all(0 <= rows[n]["linear_accuracy"] <= 1 for n in (0, 3))
    assert rows[0]["rankme"] != rows[3]["rankme"]
    checkpoint = RunFolder(tmp_path / "run").checkpoint.load()
    assert checkpoint is not None
    assert all(t.isfinite().all() for t in checkpoint.model.values() if t.is_floating_point())
    private = OBJECTIVES[name.split()[0]].private
    for state in checkpoint.clients.values():
        assert {n.split(".")[0] for n in state} == set(private)
    seen = {client for row in rows for client in row["cohort"]}
    assert checkpoint.clients.keys() == (seen if private else set())
    assert not {n.split(".")[0] for n in checkpoint.model} & set(private)


def test_labels_that_cannot_be_learned_from_are_refused_before_any_work(tmp_path: Path) -> None:
    values = experiment("supervised")
    objective = values.objective.model_copy(update={"classes": 7})
    with pytest.raises(ConfigError, match=r"objective\.classes = 7: .* up to 9; set it to 10"):
        run(values.model_copy(update={"objective": objective}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Targets, queues, centres, and states that are as large as the client.
@pytest.mark.parametrize("name", ["all4one", "dino", "diet", "pal"])
def test_a_run_that_was_stopped_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    run(experiment(name), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(experiment(name), tmp_path / "stopped", display=StopsAfter(1))
    run(experiment(name), tmp_path / "stopped", resume=True)
    assert same_result(tmp_path / "whole", tmp_path / "stopped")
    states = [RunFolder(tmp_path / part).checkpoint.load() for part in ("whole", "stopped")]
    whole, stopped = (state.clients for state in states if state is not None)
    assert whole.keys() == stopped.keys()
    for client, state in whole.items():
        assert all(torch.equal(state[n], stopped[client][n]) for n in state)


def test_the_documentation_is_right_about_the_objectives_that_it_explains() -> None:
    docs = Path(__file__).parents[2] / "docs"
    # The second table is that of docs/objectives_table.py.
    text = (docs / "objectives.md").read_text(encoding="utf-8").partition("<!--")[0]
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    for row in rows:
        name = row[0].strip(" `")
        made = OBJECTIVES[name]
        assert [part.strip(" `") for part in row[3].split(",")] == list(made.private or [""])
        assert str(made.number_of_views) in row[2] or "any" in row[2]
        assert row[4].strip() == (str(made.minimum_batch) if name != "w-mse" else "`sub_batch`")
