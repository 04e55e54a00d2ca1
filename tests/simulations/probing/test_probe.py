"""Probes of runs: on their own examples and on others', alone and against each other."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fedssl.base.config_file import ConfigError
from fedssl.evaluation import (
    MEASURES,
    Measure,
    MeasureConfig,
    MeasureResult,
    Subject,
    finetune,
    lidar,
)
from simulations import load_experiment, run
from simulations.cli import app
from simulations.errors import RunError
from simulations.probing.probe import probe
from simulations.record.run_folder import RunFolder
from simulations.server import rounds

CONFIG = """
seed: 3
rounds: 2
data: {name: npz, train: train.npz, test: test.npz, limit: {train: 48}}
partition: {name: iid, clients: 3}
model: {encoder: convnet, projector: [16, 8]}
objective: {name: byol, predictor_width: 16}
client: {batch_size: 8, lr: 0.05}
strategy: {name: fedavg}
evaluation: {measures: [harm, alignment, cka]}
engine: {name: local, device: cpu, workers: 2}
"""


def write(path: Path, count: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    examples = draws.integers(0, 128, size=(count, 16, 16, 3))
    examples[np.arange(count), :, :, labels] += 100
    np.savez(path, images=examples.astype(np.uint8), labels=labels)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, `a` and `b`: a was trained on 48 examples, b on 30 of them."""
    folder = tmp_path_factory.mktemp("runs")
    for name, count, seed in (("train", 60, 0), ("test", 24, 1), ("other", 30, 2)):
        write(folder / f"{name}.npz", count, seed)
    (folder / "small.yaml").write_text(CONFIG)
    fewer = ["data.limit.train=30", "rounds=1", "evaluation.measures=[]"]
    run(load_experiment(folder / "small.yaml"), folder / "a")
    with pytest.MonkeyPatch.context() as patch:
        # Nobody looks at its report, which takes half of its time.
        patch.setattr(rounds, "report", lambda folder: None)
        run(load_experiment(folder / "small.yaml", fewer), folder / "b")
    return folder


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lidar, "VIEWS", 3)
    monkeypatch.setattr(finetune, "EPOCHS", {1: 2, 10: 2})


@pytest.fixture(autouse=True)
def only_probes_are_written(runs: Path) -> Iterator[None]:
    def digests() -> dict[Path, str]:
        files = (p for p in runs.rglob("*") if p.is_file() and p.parent.name != "probes")
        return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    before = digests()
    yield
    assert digests() == before


def figures_of(folder: Path, *protocols: str, overrides: tuple[str, ...] = ()) -> dict[str, float]:
    done, refused = probe(folder, protocols, overrides)
    assert not refused
    return {key: value for probed in done for key, value in probed.measured.figures.items()}


def test_a_probe_says_what_the_last_round_did(runs: Path) -> None:
    last = RunFolder(runs / "a").read_metrics()[-1]
    found = figures_of(runs / "a", "linear", "knn", "rankme", "harm", "alignment", "cka")
    assert {"worst_client_accuracy", "uniformity", "cka_between_clients"} <= found.keys()
    assert found == {key: last[key] for key in found}
    assert found["cka_with_global"] < 1
    page = (runs / "a" / "report.html").read_text()
    assert '<th scope="col">Worst client accuracy</th>' in page


@pytest.mark.slow
def test_each_protocol_leaves_a_file_and_pictures_open(runs: Path) -> None:
    names = [name for name in MEASURES if name not in ("sslmem", "map-umap")]
    done, refused = probe(runs / "a", names)
    assert not refused
    assert [probed.protocol for probed in done] == names
    for probed in done:
        content = json.loads(probed.file.read_text())
        assert probed.file == runs / "a" / "probes" / f"{probed.protocol}.json"
        assert content["figures"] == probed.measured.figures
        assert content["details"] == probed.measured.details
        assert (content["run"], content["round"], content["seed"]) == ("a", 2, 3)
        assert (content["train_examples"], content["test_examples"]) == (48, 24)
        if probed.picture:
            with Image.open(probed.picture) as picture:
                assert min(picture.size) > 300
    drawn = {probed.protocol for probed in done if probed.picture}
    assert drawn == {"harm", "cka", "map", "map-tsne", "selection"}


def test_other_examples_are_a_transfer(runs: Path) -> None:
    other = f"data.train={runs / 'other.npz'}"
    done, refused = probe(runs / "a", ["linear", "harm", "cka"], [other, "data.limit.train=null"])
    assert [probed.file.name for probed in done] == [
        "linear-on-other.json",
        "harm-on-other.json",
    ]
    assert json.loads(done[0].file.read_text())["train_examples"] == 30
    assert "client_gap" not in done[1].measured.figures
    assert refused == {"cka": "cka: needs the clients' examples, which are not here"}
    another_set = ["data.name=glyphs", "data.limit.train=40", "data.limit.test=20"]
    done, _ = probe(runs / "a", ["knn"], another_set)
    assert done[0].file.name == "knn-on-glyphs.json"


def test_limits_and_seed_can_be_changed_but_not_the_model(runs: Path) -> None:
    figures_of(runs / "a", "linear", overrides=("evaluation.limit.test=9", "seed=4"))
    content = json.loads((runs / "a" / "probes" / "linear.json").read_text())
    assert content["test_examples"] == 9
    assert content["overrides"] == ["evaluation.limit.test=9", "seed=4"]
    assert content["seed"] == 4
    with pytest.raises(ConfigError, match=r"model.encoder=resnet18: a probe measures the run's"):
        probe(runs / "a", ["linear"], ["model.encoder=resnet18"])


def test_a_run_that_goes_on_is_measured_as_far_as_it_came(runs: Path) -> None:
    expected = figures_of(runs / "a", "linear", "cka")
    model = runs / "a" / "model.safetensors"
    aside = model.rename(runs / "a.safetensors")
    try:
        assert figures_of(runs / "a", "linear", "cka") == expected
    finally:
        aside.rename(model)


def test_without_its_checkpoint_only_what_needs_it_is_refused(runs: Path) -> None:
    index = runs / "a" / "checkpoint"
    aside = index.rename(runs / "checkpoint")
    try:
        done, refused = probe(runs / "a", ["linear", "cka"])
    finally:
        aside.rename(index)
    assert [probed.protocol for probed in done] == ["linear"]
    assert "holds no checkpoint" in refused["cka"]


def test_runs_are_compared(runs: Path) -> None:
    done, refused = probe(runs / "a", ["sslmem", "selection"], against=[runs / "b"])
    assert not refused
    memory, choice = done
    assert len(memory.measured.details["examples"]) == 18
    assert memory.picture
    assert memory.picture.exists()
    assert choice.measured.details["rankme"]["names"] == ["this run", str(runs / "b")]
    _, refused = probe(runs / "b", ["sslmem"], against=[runs / "a"])
    assert "was trained on all examples of this run" in refused["sslmem"]
    with pytest.raises(ConfigError, match="is the run itself"):
        probe(runs / "a", ["selection"], against=[runs / "a"])


def test_what_cannot_be_is_told_before_any_work(runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"--protocol = lidr: .*did you mean lidar"):
        probe(runs / "a", ["linear", "lidr"])
    with pytest.raises(ConfigError, match="holds no run with a finished round"):
        probe(runs, ["linear"])
    with pytest.raises(ConfigError, match=r"cannot be read|no such file"):
        probe(runs / "a", ["linear"], ["data.train=gone.npz"])


def test_a_measure_that_needs_labels_is_refused_before_the_run(tmp_path: Path) -> None:
    examples = np.zeros((12, 16, 16, 3), np.uint8)
    for name in ("train", "test"):
        np.savez(tmp_path / f"{name}.npz", images=examples)
    (tmp_path / "small.yaml").write_text(CONFIG)
    experiment = load_experiment(tmp_path / "small.yaml", ["data.limit.train=null"])
    with pytest.raises(ConfigError, match=r"evaluation.measures = harm: needs labels"):
        run(experiment, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Bright(Measure):
    """A measure of a person's own."""

    class Config(MeasureConfig):
        scale: float = 1.0
        figure: str = "brightness"

    config: Config
    labels = False

    def measure(self, subject: Subject) -> MeasureResult:
        images = subject.examples.test.fetch().double()
        return MeasureResult({self.config.figure: self.config.scale * images.mean().item()})


class Whole(Bright):
    of_a_round = False


OWN = f"{__name__}.Bright"


def test_one_of_ones_own_is_measured_in_each_round_and_by_a_probe(
    runs: Path, tmp_path: Path
) -> None:
    asked = f"evaluation.measures=[{{name: {OWN}, scale: 0.5}}, rankme]"
    experiment = load_experiment(runs / "small.yaml", [asked, "rounds=1"])
    run(experiment, tmp_path / "own")
    half = [row["brightness"] for row in RunFolder(tmp_path / "own").read_metrics()]
    found = figures_of(tmp_path / "own", OWN, f"{__name__}.Whole")
    assert half == [found["brightness"] / 2] * 2
    assert (tmp_path / "own" / "probes" / f"{OWN}.json").is_file()
    with pytest.raises(ConfigError, match=r"^--protocol = json\.loads: must be a subclass"):
        probe(tmp_path / "own", ["json.loads"])


@pytest.mark.parametrize(
    ("measures", "why"),
    [
        ("[no_such_module.Mine]", r"evaluation\.measures = no_such_module\.Mine: .*no module"),
        (f"[{__name__}.Whole]", r"Whole: is of whole runs, not of a round"),
        (f"[{{name: {OWN}, scale: much}}]", r"evaluation\.measures\.scale = much: must be"),
        ("[json.JSONDecoder]", r"must be a subclass of fedssl\.evaluation\.base\.Measure"),
    ],
)
def test_what_is_wrong_with_it_is_told_before_the_run(
    runs: Path, tmp_path: Path, measures: str, why: str
) -> None:
    experiment = load_experiment(runs / "small.yaml", [f"evaluation.measures={measures}"])
    with pytest.raises(ConfigError, match=why):
        run(experiment, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("measures", "why"),
    [
        (f"[{{name: {OWN}, figure: seconds}}]", "a figure seconds, which every round has"),
        (f"[{OWN}, {{name: {OWN}, scale: 2.0}}]", "Bright gives another brightness than one"),
    ],
)
def test_figures_of_one_name_are_refused(
    runs: Path, tmp_path: Path, measures: str, why: str
) -> None:
    experiment = load_experiment(runs / "small.yaml", [f"evaluation.measures={measures}"])
    with pytest.raises(RunError, match=why):
        run(experiment, tmp_path / "out")


def test_the_command(runs: Path) -> None:
    result = CliRunner().invoke(app, ["probe", str(runs / "a"), "--protocol", "linear,harm"])
    assert result.exit_code == 0, result.output
    assert "worst class accuracy" in result.output
    assert f"wrote {runs / 'a' / 'probes' / 'harm.png'}" in result.output
    assert "harm (2 of 2)" in result.stderr
    result = CliRunner().invoke(app, ["probe", str(runs / "a"), "--protocol", "sslmem,knn"])
    assert result.exit_code == 2
    assert "knn accuracy" in result.output
    assert "give one other run by --against" in result.stderr
    assert "Traceback" not in result.output
    result = CliRunner().invoke(app, ["probe", "--list"])
    assert all(name in result.output for name in MEASURES)
    result = CliRunner().invoke(app, ["probe"])
    assert result.exit_code == 2
    assert "which run?" in result.stderr
