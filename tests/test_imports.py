"""Imports: none fails for its order, and no test module is imported by another."""

import ast
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fedssl", "strategies", "clients", "simulations")


def modules() -> list[str]:
    """Return the names of all modules but those that are run by being imported."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    parts = [file.relative_to(ROOT).with_suffix("").parts for file in files]
    return [".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts if p[-1] != "__main__"]


def imports_alone(name: str) -> bool:
    """Import a module in a fork, which has what others wrote loaded and nothing of ours."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:
        for loaded in [m for m in sys.modules if m.partition(".")[0] in PACKAGES]:
            del sys.modules[loaded]
        __import__(name)
    except BaseException as error:
        print(f"{name}: {error!r}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def imported_tests(file: Path) -> list[str]:
    """Return the test modules that a file imports, or from which it imports something."""
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if any(part.startswith("test_") for part in name.split("."))]


def test_no_test_module_is_imported() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert {file.name: found for file in files if (found := imported_tests(file))} == {}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(900)
def test_every_module_can_be_imported_first() -> None:
    import simulations.cli  # so that forks find PyTorch, Flower and the like loaded
    import simulations.running.run

    assert simulations.cli.app is not None
    assert callable(simulations.running.run.run)
    assert [name for name in modules() if not imports_alone(name)] == []
