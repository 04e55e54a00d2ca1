"""Packages beside a person that are called as ours are told, not taken."""

import sys
from pathlib import Path

import pytest

import simulations


@pytest.mark.parametrize("name", ["strategies", "clients"])
def test_a_package_of_the_same_name_that_python_finds_first_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    simulations._check_siblings()  # A folder alone is no package: Python takes ours.
    theirs = tmp_path / name / "__init__.py"
    theirs.touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match=f"`{name}` is a package that fedssl needs") as caught:
        simulations._check_siblings()
    assert f"Python finds {theirs} in its place; rename that folder" in str(caught.value)
