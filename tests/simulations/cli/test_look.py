import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fedssl.base.config_file import parse_yaml
from fedssl.objectives import OBJECTIVES
from simulations.settings.experiment import Experiment, load_experiment, resolve
from strategies import STRATEGIES
from tests.tools.command import fedssl

Small = Callable[..., Experiment]

CONFIGS = Path(__file__).parents[3] / "configs"


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


def test_show_says_which_modules_a_config_imports(own: Path) -> None:
    result = fedssl("show", own, "strategy.name=own_module.FedAvg")
    file = own.parent / "own_module.py"
    assert f"# imports    own_module ({file}), by strategy.name" in result.stdout.splitlines()
    assert "imports" not in fedssl("show", own).stdout


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
    text = fedssl("schema").output
    # Editors show descriptions: examples in Python would be in the way there.
    assert ">>>" not in text
    schema = json.loads(text)
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


def write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
