"""What is told before a run and kept with it: how data were read, and what figures lack."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from fedssl.evaluation import MEASURES, MeasureConfig, gather, measure
from fedssl.partitions import partition
from simulations.probing.plots import picture_of
from simulations.record.client_names import read_client_names, short
from simulations.record.run_folder import RunFolder
from simulations.record.tables import read_partition
from simulations.reports.run_report import report
from simulations.server.subjects import subject_of
from simulations.settings.cautions import cautions
from simulations.settings.experiment import Experiment
from simulations.setup.notes import check_skipped, read_cautions
from simulations.setup.prepare import prepare
from tests.tools.blueprints import blueprint
from tests.tools.command import fedssl

Small = Callable[..., Experiment]


def domains(root: Path, each: int = 4, names: str = "ab") -> Path:
    """Write 12×12 examples of two classes in the domains photo and sketch."""
    draws = np.random.default_rng(0)
    for domain in ("photo", "sketch"):
        for name in names:
            (root / domain / name).mkdir(parents=True)
            for number in range(each):
                pixels = draws.integers(0, 256, (12, 12, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / domain / name / f"{number}.png")
    return root


def told(experiment: Experiment) -> list[str]:
    return list(cautions(experiment, prepare(experiment).splits))


def npz(path: Path, labels: Any) -> None:
    examples = np.random.default_rng(0).integers(0, 256, (len(labels), 16, 16, 3)).astype(np.uint8)
    np.savez(path, images=examples, labels=labels)


def test_an_ordinary_experiment_is_told_nothing_of(small: Small) -> None:
    assert told(small()) == []
    assert prepare(small()).splits.notes == ()


def test_figures_that_would_mean_nothing_are_told(small: Small, tmp_path: Path) -> None:
    experiment = small()
    npz(tmp_path / "train.npz", np.arange(48) % 2)
    npz(tmp_path / "test.npz", np.arange(20) % 4)
    (lacks,) = told(experiment)
    assert (
        "lack 2 of the classes of the test images (2, 3): 10 test images (50%) will always" in lacks
    )
    npz(tmp_path / "train.npz", np.zeros(48, int))
    npz(tmp_path / "test.npz", np.zeros(20, int))
    (one,) = told(experiment)
    assert "all labelled images are of one class (0), so every accuracy will be 100 %" in one
    npz(tmp_path / "train.npz", np.full(48, -1))
    (none,) = told(experiment)
    assert none.startswith("the training images have no labels, so linear_accuracy and knn_acc")
    assert "lidar" in none
    npz(tmp_path / "test.npz", np.full(20, -1))
    (none,) = told(experiment)
    assert none.startswith("the training and test images have no labels")
    npz(tmp_path / "train.npz", np.arange(48) % 2)
    (none,) = told(experiment)
    assert none.startswith("the test images have no labels")
    assert told(small("evaluation.split=validation")) == []


def test_a_warm_up_as_long_as_the_run_is_told(small: Small) -> None:
    (warm,) = told(small("rounds=3", "strategy.warmup_rounds=3"))
    assert warm.startswith("strategy.warmup_rounds = 3, but rounds = 3: ldawa is FedAvg in all")
    assert told(small("rounds=4", "strategy.warmup_rounds=3")) == []
    (slow,) = told(small("client.warmup_rounds=3"))
    assert "the learning rate never reaches client.lr" in slow


def of_domains(small: Small, root: Path, *overrides: str) -> Experiment:
    return small(
        f"data={{name: folder, train: {root}}}",
        "partition={name: natural, field: domain}",
        "objective={name: simclr}",
        "rounds=1",
        "participation=1.0",
        "strategy.warmup_rounds=0",
        *overrides,
    )


def test_natural_clients_keep_their_names(small: Small, tmp_path: Path) -> None:
    prepared = prepare(of_domains(small, domains(tmp_path / "x")))
    assert prepared.partition.names == ("photo", "sketch")
    folder = RunFolder(tmp_path / "run")
    folder.begin(prepared.experiment, prepared.counts, prepared.classes, prepared.partition.names)
    rows = folder.partition.read_text().splitlines()
    assert rows[0] == "client,class,examples,name"
    assert rows[-1] == "1,b,3,sketch"
    counts, classes = read_partition(folder.partition)
    assert counts.dense().tolist() == [[3, 3], [3, 3]]
    assert classes == ["a", "b"]
    assert read_client_names(folder.partition) == ["photo", "sketch"]
    assert short("x" * 30) == "x" * 23 + "…"
    numbered = of_domains(
        small, tmp_path / "x", "partition={name: natural, field: domain, clients: 1}"
    )
    assert prepare(numbered).partition.names == ("photo + sketch",)
    glyphs = prepare(small("data={name: glyphs}", "partition={name: natural, field: font}"))
    assert glyphs.partition.names[0] == "DejaVuSans"
    assert prepare(small()).partition.names == ()


def test_numbers_are_named_by_their_column(small: Small, tmp_path: Path) -> None:
    experiment = small("partition={name: natural, field: camera}")
    examples = np.zeros((48, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "train.npz", images=examples, labels=np.arange(48) % 3, camera=[7, 9] * 24)
    assert prepare(experiment).partition.names == ("camera 7", "camera 9")


@pytest.mark.parametrize("name", ["harm", "cka", "map"])
def test_measures_name_natural_clients(small: Small, tmp_path: Path, name: str) -> None:
    prepared = prepare(of_domains(small, domains(tmp_path / "x")))
    experiment, splits = prepared.experiment, prepared.splits
    parts = partition(experiment.partition, splits.train, experiment.seed)
    encoder = blueprint(experiment, 12).build().encoder.eval()
    found = gather(splits, experiment.evaluation)
    subject = subject_of(
        prepared.blueprint,
        encoder,
        splits,
        found,
        parts,
        after_update=lambda _: encoder,
    )
    measured = measure(cast(MeasureConfig, MEASURES.read(name)), subject)
    assert measured.details["client_names"] == ["photo", "sketch"]
    if name == "harm":
        assert measured.details["domains"] == ["photo", "sketch"]
        accuracies, examples = (measured.details[f"domain_{k}"] for k in ("accuracy", "examples"))
        assert examples == [2, 2]
        gap = max(accuracies) - min(accuracies)
        assert measured.figures["domain_gap"] == pytest.approx(gap)
        assert measured.figures["worst_domain_accuracy"] == min(accuracies)
    figure = picture_of(name, measured)
    assert figure is not None
    figure.draw_without_rendering()
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {"photo", "sketch"} <= texts


@pytest.mark.slow
def test_a_run_tells_and_keeps_what_was_read(small: Small, tmp_path: Path) -> None:
    root = domains(tmp_path / "x", each=5)
    (root / "photo" / "a" / "0.png").write_bytes(b"hello")
    small()
    config = (tmp_path / "small.yaml").read_text()
    (tmp_path / "small.yaml").write_text(config.replace("ldawa, warmup_rounds: 1", "ldawa"))
    overrides = [
        f"data={{name: folder, train: {root}, on_bad_file: skip, size: 16}}",
        "partition={name: natural, field: domain}",
        "rounds=1",
        "evaluation.measures=[harm]",
    ]
    result = fedssl("run", tmp_path / "small.yaml", *overrides, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    said = result.output.splitlines()
    assert said[0] == "data.train: folders read as domain/class: 2 domains, 2 classes, 20 images"
    assert said[2] == "data.on_bad_file = skip: 1 of 20 files were left out"
    assert said[3].startswith("caution: strategy.warmup_rounds = 3, but rounds = 1")
    notes = json.loads((tmp_path / "run" / "notes.json").read_text())
    assert notes["read"] == said[:3]
    with (tmp_path / "run" / "skipped.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "reason"],
            [
                str(root / "photo" / "a" / "0.png"),
                "it is no JPEG, PNG, WebP, BMP, GIF, TIFF or PPM, or is damaged at its beginning",
            ],
        ]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Caution: strategy.warmup_rounds = 3" in page
    assert "worst_domain_accuracy" in (tmp_path / "run" / "metrics.jsonl").read_text()
    overrides.append("--resume")
    assert (
        fedssl("run", tmp_path / "small.yaml", *overrides, "--out", tmp_path / "run").exit_code == 0
    )
    whole = (root / "photo" / "a" / "1.png").read_bytes()
    (root / "photo" / "a" / "0.png").write_bytes(whole)
    refused = fedssl("run", tmp_path / "small.yaml", *overrides, "--out", tmp_path / "run")
    assert refused.exit_code == 2
    assert "a/0.png was left out when this run began, and can be read now" in refused.output
    (root / "photo" / "a" / "0.png").write_bytes(b"hello")
    overrides.pop()
    (tmp_path / "run" / "notes.json").write_text("{")
    assert read_cautions(tmp_path / "run") == []
    assert "Caution" not in report(tmp_path / "run").read_text()
    result = fedssl("show", tmp_path / "small.yaml", *overrides, "--picture", tmp_path / "p.png")
    assert said[0] in result.output
    assert said[3] in result.output
    assert "    photo " in result.output


def test_a_comparison_without_labels_is_refused_before_its_first_run(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small()
    monkeypatch.chdir(tmp_path)
    npz(tmp_path / "train.npz", np.full(48, -1))
    grid = ["compare", "small.yaml", "--strategies", "fedavg,ldawa", "--seeds", "1", "rounds=1"]
    refused = fedssl(*grid)
    assert refused.exit_code == 2
    assert "no labels, so there is no linear accuracy to compare" in refused.output
    assert "--metric rankme" in refused.output
    assert not (tmp_path / "runs").exists()
    for wrong, message in (
        (["--metric", "rank"], "--metric rank: there is no such; did you mean rankme?"),
        (["--metric", "rankme", "--tune", "client.lr=0.1,1"], "chooses by the labels"),
    ):
        refused = fedssl(*grid, *wrong)
        assert refused.exit_code == 2
        assert message in refused.output


@pytest.mark.slow
def test_strategies_are_compared_without_labels_by_rankme(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small()
    monkeypatch.chdir(tmp_path)
    npz(tmp_path / "train.npz", np.full(48, -1))
    npz(tmp_path / "test.npz", np.full(20, -1))
    grid = ["compare", "small.yaml", "--strategies", "fedavg,ldawa", "--seeds", "2", "rounds=1"]
    result = fedssl(*grid, "--metric", "rankme")
    assert result.exit_code == 0, result.output
    assert "caution: the training and test images have no labels" in result.output
    assert "caution: strategy.warmup_rounds = 1, but rounds = 1: ldawa is FedAvg" in result.output
    folder = tmp_path / "runs" / "small-compared"
    table = (folder / "table.md").read_text()
    assert "| strategy | RankMe | difference (RankMe) |" in table
    last = [
        json.loads(
            (folder / "runs" / "fedavg" / f"seed-{s}" / "metrics.jsonl")
            .read_text()
            .splitlines()[-1]
        )
        for s in (3, 4)
    ]
    mean = np.mean([row["rankme"] for row in last])
    assert f"| fedavg | {mean:.1f} ±" in table
    assert "more need not be better" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[1]",
        '{"cautions": [1]}',
        '{"cautions": {"a": "b"}}',
        "{",
        "é".encode("cp1252"),
    ],
)
def test_notes_that_tell_nothing_are_left_out(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / "notes.json").write_bytes(text.encode() if isinstance(text, str) else text)
    assert read_cautions(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["notes.json", "skipped.csv"])
@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_no_pipe_or_device_is_waited_for(
    small: Small, tmp_path: Path, name: str, kind: str
) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    assert read_cautions(tmp_path) == []
    check_skipped(tmp_path, prepare(small()))
