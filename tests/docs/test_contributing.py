"""The examples of CONTRIBUTING.md, as a package of somebody else's that is installed."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from fedssl.base.registry import Named
from fedssl.client_rules import CLIENT_RULES
from fedssl.evaluation import MEASURES
from fedssl.modalities import MODALITIES
from fedssl.objectives import OBJECTIVES, TERMS
from fedssl.partitions import PARTITIONS
from simulations import Run
from strategies import STRATEGIES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES: dict[str, str] = dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", TEXT, re.M | re.S))
POINTS = [
    EntryPoint(name, value, group)
    for group, points in tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"].items()
    for name, value in points.items()
]


def write(folder: Path, *, installed: bool = True) -> Path:
    """Write the package; where it is installed, with what an installer leaves beside it."""
    for name, code in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code, encoding="utf-8")
    if installed:
        about = folder / "extras-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: extras\nVersion: 1.0\n")
        lines = [f"[{p.group}]\n{p.name} = {p.value}\n" for p in POINTS]
        (about / "entry_points.txt").write_text("".join(lines))
    return folder


def python(folder: Path, *arguments: str) -> str:
    """Run a module as somebody who has the package, or its folder, on the path."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    result = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "250", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def fedssl(folder: Path, *arguments: str) -> str:
    return python(folder, "simulations.cli", *arguments)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("package"))


def path_of(name: str) -> str:
    """Return the dotted path of what an entry point leads to."""
    (point,) = (point for point in POINTS if point.name == name)
    return point.value.replace(":", ".")


def test_there_is_an_example_of_every_kind() -> None:
    image = MODALITIES["image"]
    registries: list[Named[Any]]
    registries = [OBJECTIVES, TERMS, STRATEGIES, CLIENT_RULES, PARTITIONS, MEASURES, MODALITIES]
    registries += [image.encoders, image.data_sets, image.view_steps]
    assert {point.group for point in POINTS} == {registry.group for registry in registries}
    examples = {name for name in FILES if name.startswith("extras/")}
    assert {f"{point.module.replace('.', '/')}.py" for point in POINTS} == examples
    assert {f"extras/{Path(name).name.removeprefix('test_')}" for name in FILES} >= examples
    assert {name for name in FILES if name.startswith("tests/")} == {
        f"tests/test_{Path(name).name}" for name in examples
    }


def test_each_list_is_where_the_table_says() -> None:
    table = TEXT.partition("| kind | file in | line in |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`([^`]+)`", line) for line in table.splitlines()[2:]]
    assert len(rows) == len(POINTS)
    for folder, listed, *files in rows:
        (file,) = files
        path = ROOT / (file if "/" in file else folder + file)
        assert listed.partition(".")[0] in path.read_text(encoding="utf-8")


def test_the_examples_are_clean(package: Path) -> None:
    python(package, "ruff", "check", "--config", str(ROOT / "pyproject.toml"), "extras", "tests")
    python(package, "ruff", "format", "--check", "--line-length", "100", "extras", "tests")


@pytest.mark.slow
def test_an_installed_package_is_listed(package: Path) -> None:
    rows = [" ".join(line.split()) for line in fedssl(package, "list").splitlines()]
    for point in POINTS:
        if point.group == CLIENT_RULES.group:
            continue  # which strategies ask for, and no config
        code = FILES[f"{point.module.replace('.', '/')}.py"]
        kind = re.search(r"^(\w+) = (\w+)\(\)$", code, re.M)
        named = kind[2] if kind else point.attr
        found = re.search(rf'^class {named}\b.*?"""(.*?)$', code, re.M | re.S)
        assert found is not None
        line = found[1].removesuffix('"""')
        assert [row for row in rows if row.endswith(f"{point.name} {line}")]


@pytest.mark.slow
def test_the_tests_of_the_examples_pass(package: Path) -> None:
    python(package, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests")


@pytest.mark.slow
def test_a_config_names_them(package: Path) -> None:
    fedssl(package, "run", "extras.yaml", "--out", "named")
    (before, after) = Run(package / "named").metrics
    assert after["failed"] == []
    assert after["feature_length"] != before["feature_length"] > 0


@pytest.mark.slow
def test_a_modality_is_named_by_its_data(package: Path) -> None:
    given = ["data={name: rings, modality: point}", "model={encoder: layers}", "views=turned"]
    more = ["partition.name=iid", "objective.terms=[]", "evaluation.measures=[]"]
    fedssl(package, "run", "extras.yaml", "--out", "points", *given, *more)
    assert Run(package / "points").metrics[-1]["failed"] == []


@pytest.mark.slow
def test_without_a_package_dotted_paths_name_them(tmp_path: Path) -> None:
    folder = write(tmp_path, installed=False)
    # As the page says of a client rule that has no entry point.
    rule = folder / "extras" / "small_weights.py"
    named = 'name: Literal["small-weights"] = "small-weights"'
    dotted = f'name: str = "{path_of("small-weights")}"'
    assert named in rule.read_text()
    assert f"`{dotted}`" in TEXT
    rule.write_text(rule.read_text().replace(named, dotted))
    config = folder / "extras.yaml"
    text = config.read_text()
    for point in POINTS:
        text = re.sub(rf"(?<=[ \[]){point.name}(?=[,}}\]])", path_of(point.name), text)
    assert text.count("extras.") == len(POINTS) - 2
    config.write_text(text)
    fedssl(folder, "run", "extras.yaml", "--out", "dotted")
    assert Run(folder / "dotted").metrics[-1]["feature_length"] > 0
