"""Finding what a dotted path names."""

from pathlib import Path

import pytest

from fedssl.dotted import load_dotted


def test_finds_what_is_named() -> None:
    assert load_dotted("pathlib.Path") is Path
    import os.path

    assert load_dotted("os.path.join") is os.path.join


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("Path", "not a dotted path"),
        (".Path", "not a dotted path"),
        ("pathlib.", "not a dotted path"),
        ("path lib.Path", "not a dotted path"),
        ("no_such_module.Path", r"no module 'no_such_module'"),
        ("os.no_such_module.Path", r"no module 'os.no_such_module'"),
        ("pathlib.Pfad", r"the module pathlib has no 'Pfad'"),
    ],
)
def test_says_what_is_missing(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_dotted(path)


def test_the_module_s_own_errors_pass_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_module.py").write_text("import a_library_that_is_missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_missing"):
        load_dotted("broken_module.Thing")
