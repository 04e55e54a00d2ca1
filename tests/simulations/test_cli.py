import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fedssl.objectives import OBJECTIVES
from simulations.bench.figure import Figure, Target
from simulations.cli import app
from simulations.experiment import Experiment, load_experiment
from simulations.server import Server
from strategies import STRATEGIES

Small = Callable[..., Experiment]
CONFIGS = Path(__file__).parents[2] / "configs"


def fedssl(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def config(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "small.yaml"


def test_run_prints_a_line_a_round_and_where_the_report_lies(config: Path) -> None:
    result = fedssl("run", config, "rounds=1", "strategy.name=fedavg", "--device", "cpu")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("round 0/1: linear ")
    assert lines[1].startswith("round 1/1: 2 clients  loss ")
    assert lines[-1] == "report: runs/small/report.html"
    assert (config.parent / "runs" / "small" / "report.html").exists()


def test_each_run_has_a_folder_of_its_own_and_resume_takes_the_newest(config: Path) -> None:
    for _ in range(2):
        assert fedssl("run", config, "rounds=1", "--quiet").exit_code == 0
    result = fedssl("run", config, "rounds=1", "--quiet", "--resume")
    assert result.output == "report: runs/small-2/report.html\n"


def test_profile_prints_where_the_time_went_unless_quiet(config: Path) -> None:
    result = fedssl("run", config, "rounds=1", "--profile")
    assert result.exit_code == 0, result.output
    heads = [line.split() for line in result.output.splitlines()]
    parts = ["views", "step", "merge", "probe", "save", "engine", "wait"]
    assert ["round", "seconds", "clients", *parts] in heads
    assert {"total", "share"} <= {head[0] for head in heads if head}
    result = fedssl("run", config, "rounds=1", "--profile", "--quiet")
    assert result.output == "report: runs/small-2/report.html\n"
    assert (config.parent / "runs" / "small-2" / "profile" / "trace.json").exists()


def test_a_wrong_config_is_told_without_a_traceback_and_leaves_nothing(config: Path) -> None:
    result = fedssl("run", config, "client.lr=-1")
    assert result.exit_code == 2
    assert "client.lr = -1" in result.stderr
    assert "Traceback" not in result.stderr
    result = fedssl("run", config, "data.train=gone.npz")
    assert result.exit_code == 2
    assert not any((config.parent / "runs").iterdir())


def test_ctrl_c_says_how_to_go_on(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "train", interrupted)
    result = fedssl("run", config, "rounds=2")
    assert result.exit_code == 130
    assert f"fedssl run {config} rounds=2 --resume --out runs/small" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(config.parent)
    assert fedssl("run", config, "rounds=2", "--resume", "--out", "runs/small").exit_code == 0


def test_show_describes_without_training(config: Path) -> None:
    result = fedssl("show", config)
    assert result.exit_code == 0, result.output
    assert "48 train, 24 test, 3×16×16, 3 classes" in result.output
    assert "2 of 4 clients" in result.output
    assert (config.parent / "runs" / "small-partition.png").read_bytes()[1:4] == b"PNG"


def test_show_draws_images_and_their_views(config: Path) -> None:
    result = fedssl("show", config, "views=byol", "--views")
    assert result.exit_code == 0, result.output
    assert "name: solarize" in result.output
    assert result.output.splitlines()[-1] == "picture: runs/small-views.png"
    assert (config.parent / "runs" / "small-views.png").read_bytes()[1:4] == b"PNG"


def test_export_writes_the_encoder_and_says_how_to_load_it(config: Path) -> None:
    run = config.parent / "runs" / "small"
    assert fedssl("run", config, "rounds=1", "--quiet").exit_code == 0
    result = fedssl("export", run, "--format", "safetensors")
    assert result.exit_code == 0, result.output
    file = run / "encoder-safetensors.safetensors"
    assert file.exists()
    assert result.stdout.splitlines()[0] == f"encoder: {file}"
    assert f"    state = load_file('{file}')" in result.stdout.splitlines()
    result = fedssl("export", run, "--format", "torchvision")
    assert result.exit_code == 2
    assert "the encoder is convnet, which torchvision does not have" in result.stderr


def test_init_writes_a_config_that_loads_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    assert fedssl("init", path).exit_code == 0
    assert load_experiment(path).data.name == "glyphs"
    path.write_text("mine")
    assert fedssl("init", path).exit_code == 2
    assert path.read_text() == "mine"


def test_list_names_everything() -> None:
    output = fedssl("list").output
    for name in [*OBJECTIVES, *STRATEGIES, "convnet", "resnet50", "cifar10", "dirichlet", "local"]:
        assert name in output.split()


def test_schema_is_valid_json_schema() -> None:
    schema = json.loads(fedssl("schema").output)
    assert "properties" in schema
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("command", ["run", "show", "init", "list", "schema", "report", "export"])
def test_help_teaches(command: str) -> None:
    result = fedssl(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 8


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: p.name)
def test_every_config_loads(path: Path) -> None:
    load_experiment(path)


def test_report_refuses_what_is_no_run(tmp_path: Path) -> None:
    result = fedssl("report", tmp_path)
    assert result.exit_code == 2
    assert str(tmp_path) in result.stderr.replace("\n", "")


def test_bench_prints_a_table_and_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measures(*, quick: bool, peers: list[str]) -> dict[str, Callable[[], list[Figure]]]:
        asked.append((quick, peers))
        return {"speed": lambda: [Figure("speed", "per s", 7.0, target=Target(5, at_least=True))]}

    monkeypatch.setattr("simulations.bench.measures", measures)
    result = fedssl("bench", "--quick", "--json", tmp_path / "bench.json")
    assert result.exit_code == 0, result.output
    assert "measuring speed" in result.stderr
    assert "7.00" in result.stdout
    assert asked == [(True, [])]
    (figure,) = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert (figure["name"], figure["value"], figure["met"]) == ("speed", 7.0, True)
    assert fedssl("bench", "--against", "pfl, lightly").exit_code == 0
    assert asked[1] == (False, ["pfl", "lightly"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "flwer"], "there is no such peer; did you mean flower?"),
        (["--quick", "--against", "pfl"], "--quick measures against no peers"),
        (["--growth", "g", "--json", "b.json"], "leave out --json and --against"),
        (["--growth", "g", "--against", "pfl"], "leave out --json and --against"),
        (["--json", "gone/bench.json"], "--json gone/bench.json: there is no such folder"),
    ],
)
def test_bench_refuses_before_it_measures(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulations.bench.bench", None)
    monkeypatch.setattr("simulations.bench.growth.growth", None)
    result = fedssl("bench", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_bench_measures_growth_into_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def growth(folder: Path, quick: bool, began: Callable[[str, int, int], None]) -> None:
        asked.append((folder, quick))
        began("10 clients", 1, 7)

    monkeypatch.setattr("simulations.bench.growth.growth", growth)
    result = fedssl("bench", "--growth", tmp_path / "growth")
    assert result.exit_code == 0, result.output
    assert asked == [(tmp_path / "growth", False)]
    assert "measuring 10 clients (1 of 7)" in result.stderr
    assert result.stdout == f"picture: {tmp_path / 'growth' / 'growth.png'}\n"
