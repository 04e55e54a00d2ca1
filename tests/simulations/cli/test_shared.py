"""What every command says of errors."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from simulations.settings.experiment import Experiment
from tests.tools.command import fedssl

Small = Callable[..., Experiment]


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
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    files = [root / "README.md", *(root / "docs").glob("*.md")]
    for package in ("fedssl", "strategies", "clients", "simulations"):
        files += [f for f in (root / package).rglob("*.py") if "peers" not in f.parts]
    hints = [h for f in files for h in re.findall(r"pip install ('[^']*'|\.)", f.read_text())]
    extras = [f"'fedssl[{extra}]'" for extra in project["optional-dependencies"]]
    allowed = [*extras, *(f"'{name}'" for name in project["dependencies"]), ".", "'fedssl[{name}]'"]
    assert len(hints) > 8
    assert [hint for hint in hints if hint not in allowed] == []
