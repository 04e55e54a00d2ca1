"""Finding what a dotted path names."""

from pathlib import Path

import pytest

from fedssl.base.import_path import dotted_names, load_dotted, user_code_location


def test_finds_what_is_named() -> None:
    assert load_dotted("pathlib.Path") is Path
    import os.path

    assert load_dotted("os.path.join") is os.path.join


def test_what_may_name_code_is_found_at_any_depth_and_nothing_else_is() -> None:
    values = {
        "data": {"name": "npz", "train": "a.npz", "where": {"domain": ["b.c"]}},
        "objective": {"name": "d.E", "terms": ["f.G", {"name": "h.I"}], "file": "j.k"},
        "views": [["l.M"]],
        "strategy": "n.O",
        3: {"encoder": "p.Q"},
    }
    assert list(dotted_names(values)) == [
        ("objective.name", "d.E"),
        ("objective.terms.0", "f.G"),
        ("objective.terms.1.name", "h.I"),
        ("views.0.0", "l.M"),
        ("strategy", "n.O"),
        ("3.encoder", "p.Q"),
    ]
    for odd in (None, 3, "a.b", ["a.b"], {"name": {"a.b": 1}}):
        assert list(dotted_names(odd)) == []


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


def test_the_place_of_an_error_is_the_innermost_line_of_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_json.py").write_text("import json\ndef read():\n    json.loads('x')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    read = load_dotted("own_json.read")
    assert callable(read)
    with pytest.raises(ValueError, match="Expecting value") as caught:
        read()
    place = f"{tmp_path / 'own_json.py'}, line 3, in read"
    assert user_code_location(caught.value) == place
    wrapper = KeyError("x")
    assert user_code_location(wrapper) is None
    wrapper.__cause__ = caught.value
    assert user_code_location(wrapper) == place
