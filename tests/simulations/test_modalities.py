"""Whole runs on examples that are no images, as users start them."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedssl import load_encoder
from fedssl.base.config_file import ConfigError
from fedssl.data.example_spec import ExampleSpec
from simulations.cli import app
from simulations.settings.own_code import own_code_of
from tests.tools.point_modality import Layers

TOY = "tests.tools.point_modality.POINTS"


@pytest.fixture
def points(tmp_path: Path) -> Path:
    file = tmp_path / "points.yaml"
    file.write_text(
        f"rounds: 2\ndata: {{name: rings, modality: {TOY}}}\n"
        "partition: {name: iid, clients: 3}\nobjective: {name: simclr}\n"
        "client: {batch_size: 16}\nengine: {name: local, device: cpu}\n",
        encoding="utf-8",
    )
    return file


def fedssl(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.slow
def test_a_modality_of_a_single_file_is_shown_run_probed_and_loaded(
    points: Path, tmp_path: Path
) -> None:
    assert "points     90 train, 90 test, 2, 3 classes" in fedssl("show", points)
    assert "view 2     2\n" in fedssl("show", points, "--views")
    run = tmp_path / "run"
    fedssl("run", points, "--out", run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [0, 1, 2]
    fedssl("probe", run, "--protocol", "harm,lidar,map,alignment")
    fedssl("report", run)
    with pytest.raises(ValueError, match="which no installed package adds"):
        load_encoder(run)
    spec = ExampleSpec(f"{Layers.__module__}.POINTS", (2,), "float32")
    assert load_encoder(run, Layers(Layers.Config(), spec)).features == 16
    said = fedssl("run", points, "--engine", "flower", "--out", tmp_path / "flower", code=2)
    assert "engine.name = flower: devices cannot train on points" in said
    assert "views of points cannot be drawn" in fedssl(
        "show", points, "--views", "--picture", tmp_path / "x.png", code=2
    )


def test_the_list_names_what_each_modality_has() -> None:
    printed = fedssl("list")
    for field in ("data.name (images)", "data.name (series)", "views (series)"):
        assert field in printed
    for name in ("glyphs", "waves", "convnet", "conv1d", "patch-transformer"):
        assert name in printed


def test_the_modality_of_a_run_folder_is_not_imported_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile_modality.py").write_text("raise SystemExit('it was run')\n")
    (tmp_path / "config.yaml").write_text(
        "data: {name: rings, modality: hostile_modality.POINTS}\n"
        "partition: {name: iid, clients: 3}\nobjective: {name: simclr}\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="its code lies in the run's own folder"):
        own_code_of(tmp_path)
    assert "hostile_modality" not in sys.modules
