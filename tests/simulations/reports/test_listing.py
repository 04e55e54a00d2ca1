from collections.abc import Callable
from pathlib import Path

import pytest

from simulations.reports.listing import listing


def test_what_cannot_be_imported_is_listed_with_the_reason(
    install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(objectives=("broken", "broken_package:Other"))
    words = "".join(str(column._cells) for column in listing().columns)
    assert "cannot be imported" in words
