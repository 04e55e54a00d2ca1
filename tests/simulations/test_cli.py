import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from fedssl.base.config_file import parse_yaml
from fedssl.objectives import OBJECTIVES
from simulations import bench
from simulations.bench import Benchmark, Measurement, Target
from simulations.cli import app
from simulations.server.server import Server
from simulations.settings.experiment import Experiment, load_experiment, resolve
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


@pytest.mark.slow
def test_each_run_has_a_folder_of_its_own_and_resume_takes_the_newest(config: Path) -> None:
    for _ in range(2):
        assert fedssl("run", config, "rounds=1", "--quiet").exit_code == 0
    result = fedssl("run", config, "rounds=1", "--quiet", "--resume")
    assert result.output == "report: runs/small-2/report.html\n"


@pytest.mark.slow
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
    assert not (config.parent / "runs").exists()


def test_what_show_prints_loads_as_the_same_config(config: Path, small: Small) -> None:
    result = fedssl("show", config, "--picture", "shown.png", "seed=4")
    (config.parent / "elsewhere").mkdir()
    again = write_text(config.parent / "elsewhere" / "again.yaml", result.stdout)
    assert load_experiment(again) == resolve(small("seed=4"))
    assert result.stderr == "picture: shown.png\n"
    assert (config.parent / "shown.png").read_bytes()[1:4] == b"PNG"


def test_show_views_prints_the_views_alone_and_draws_where_it_is_told(config: Path) -> None:
    result = fedssl("show", config, "views=byol", "--views", "--picture", "views/of.png")
    assert result.exit_code == 0, result.output
    shown = parse_yaml(result.stdout, "shown")
    assert list(shown) == ["views"]
    assert [step["name"] for step in shown["views"]][-1] == "solarize"
    assert "# view 2     3×16×16" in result.stdout
    assert (config.parent / "views" / "of.png").read_bytes()[1:4] == b"PNG"


OWN = """
from strategies.fedavg import FedAvg

class Failing(FedAvg):
    def aggregate_train(self, server_round, replies):
        return {}["gone"]

class Refusing(FedAvg):
    def __init__(self):
        raise TypeError("not \\x1b[31m today")
"""


@pytest.fixture
def own(config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write modules of a person's own, which fail."""
    monkeypatch.syspath_prepend(str(config.parent))
    write_text(config.parent / "own_module.py", OWN)
    write_text(config.parent / "own_syntax.py", "def f(:\n")
    yield config
    sys.modules.pop("own_module", None)


def test_show_says_which_modules_a_config_imports(own: Path) -> None:
    result = fedssl("show", own, "strategy.name=own_module.FedAvg")
    file = own.parent / "own_module.py"
    assert f"# imports    own_module ({file}), by strategy.name" in result.stdout.splitlines()
    assert "imports" not in fedssl("show", own).stdout


@pytest.mark.parametrize(
    ("name", "message", "place"),
    [
        ("own_module.Failing", "error: KeyError: 'gone'", "own_module.py, line 6, in aggregate"),
        ("own_module.Refusing", r"TypeError: not \x1b[31m today", "own_module.py, line 10, in __i"),
        ("own_syntax.Thing", "SyntaxError: invalid syntax", "own_syntax.py, line 1"),
    ],
)
def test_an_error_in_own_code_is_told_with_its_place_once(
    own: Path, name: str, message: str, place: str
) -> None:
    arguments = ("run", own, "rounds=1", f"strategy.name={name}", "--out", "runs/failing")
    result = fedssl(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count(place.partition(",")[0]) == 1
    assert f"  in {own.parent / place}" in result.stderr
    assert "Traceback" not in result.stderr
    for debugged in (("--debug", *arguments), (*arguments, "--debug")):
        error = fedssl(*debugged, "--resume").exception
        assert error is not None
        assert not isinstance(error, SystemExit)


def test_debug_works_for_every_command(config: Path) -> None:
    for command in ("run", "show", "report", "probe"):
        assert isinstance(fedssl(command, "gone", "--debug").exception, ValueError | OSError)
        assert isinstance(fedssl(command, "gone").exception, SystemExit)


def test_a_misspelt_command_is_told_once() -> None:
    output = fedssl("rn").output
    assert output.count("id you mean") == 1
    assert "there is no command rn; did you mean run?" in output


def test_brackets_are_printed_as_they_are() -> None:
    words = " ".join(fedssl("list").output.split())
    assert "pip install 'fedssl[maps]'" in words
    assert "pip install 'fedssl[timm]'" in words


def test_install_hints_are_spelled_alike() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    files = [root / "README.md", *(root / "docs").glob("*.md")]
    for package in ("fedssl", "strategies", "clients", "simulations"):
        files += [f for f in (root / package).rglob("*.py") if "peers" not in f.parts]
    hints = [h for f in files for h in re.findall(r"pip install ('[^']*'|\.)", f.read_text())]
    extras = [f"'fedssl[{extra}]'" for extra in project["optional-dependencies"]]
    allowed = [*extras, *(f"'{name}'" for name in project["dependencies"]), ".", "'fedssl[{name}]'"]
    assert len(hints) > 8
    assert [hint for hint in hints if hint not in allowed] == []


def in_a_process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "simulations.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment,
        capture_output=True,
        timeout=200,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "MPLBACKEND": "nonsense"},
    ],
    ids=" ".join,
)
def test_odd_environments_break_nothing(config: Path, environment: dict[str, str]) -> None:
    with np.load(config.parent / "train.npz") as arrays:
        names = np.array(["猫", "\x1b[31mdog", "b\u202eird"])
        np.savez(config.parent / "train.npz", **arrays, class_names=names)
    result = in_a_process("show", config, "--picture", "p.png", **environment)
    assert result.returncode == 0, result.stderr
    assert b"\x1b" not in result.stdout
    text = result.stdout.decode(environment.get("PYTHONIOENCODING", "ascii"))
    assert load_experiment(write_text(config.parent / "again.yaml", text)).seed == 3
    assert b"Traceback" not in result.stderr
    assert b"Warning" not in result.stderr


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


@pytest.mark.parametrize(
    "data",
    [
        *({"name": name} for name in ("glyphs", "waves", "my_sets.mine")),
        {"name": "series-csv", "train": "x", "length": 4},
        {"name": "my_sets.mine", "modality": "series", "mean": [1.0], "further": 1},
        {"name": "my_sets.mine", "modality": "my_points.POINTS", "further": 1},
        {"name": "rings", "modality": "my_points.POINTS"},
    ],
)
def test_the_schema_takes_what_is_valid(data: dict[str, object]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(fedssl("schema").output))
    config = yaml.safe_load((CONFIGS / "smoke.yaml").read_text(encoding="utf-8"))
    config["model"] = {"projector": [8]}
    assert validator.is_valid({**config, "data": data})
    assert not validator.is_valid({**config, "data": {"name": "no-such-set"}})
    for path in CONFIGS.glob("*.yaml"):
        assert validator.is_valid(yaml.safe_load(path.read_text(encoding="utf-8")))


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


def write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_bench_prints_a_table_and_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def benchmarks(*, quick: bool) -> dict[str, Benchmark]:
        asked.append(quick)
        return {
            "speed": lambda: [Measurement("speed", "per s", 7.0, target=Target(5, at_least=True))]
        }

    monkeypatch.setattr(bench, "benchmarks", benchmarks)
    result = fedssl("bench", "--quick", "--json", tmp_path / "bench.json")
    assert result.exit_code == 0, result.output
    assert "measuring speed" in result.stderr
    assert "7.00" in result.stdout
    assert asked == [True]
    (figure,) = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert (figure["name"], figure["value"], figure["met"]) == ("speed", 7.0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "flower"], "`make bench AGAINST=flower,pfl,lightly` measures peers"),
        (["--quick", "--growth", "g"], "`make bench GROWTH=FOLDER` how cost grows"),
        (["--json", "gone/bench.json"], "--json gone/bench.json: there is no such folder"),
    ],
)
def test_bench_refuses_before_it_measures(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "measure_all", None)
    result = fedssl("bench", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "--against" not in fedssl("bench", "--help").stdout
