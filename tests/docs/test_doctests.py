"""The examples with a prompt in docstrings can be run, and print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fedssl", "strategies", "clients", "simulations")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples() -> list[str]:
    """Return the names of the modules whose text has a prompt; others need no import."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    parts = [
        file.relative_to(ROOT).with_suffix("").parts
        for file in files
        if ">>> " in file.read_text(encoding="utf-8")
    ]
    return [".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts]


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_run(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in PACKAGES:
            raise
        pytest.skip(f"the package {error.name} is not installed")
    result = doctest.testmod(module, optionflags=FLAGS)
    assert result.attempted > 0, "a prompt that no docstring holds"
    assert result.failed == 0


def test_a_wrong_example_is_found() -> None:
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    assert runner.run(wrong, out=printed.append).failed == 1
    assert "Expected" in "".join(printed)
