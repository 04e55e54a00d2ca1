"""Files that others may have written."""

import os
from pathlib import Path

import pytest

from fedssl.base.errors import ConfigError
from fedssl.base.plain_files import check_regular_file, parse_json, read_json, read_text, shorten


def test_a_text_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("zwölf\n", encoding="utf-8")
    assert read_text(file) == "zwölf\n"
    assert read_text(file, 7) == "zwölf\n"
    with pytest.raises(ConfigError, match=r"text: cannot be read: it is larger than"):
        read_text(file, 6)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("[1]")
    (tmp_path / "link").symlink_to("file")
    assert read_json(tmp_path / "link") == [1]


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, message in (
        (tmp_path, "it is a folder, where a file is due"),
        (tmp_path / "pipe", "it is a pipe"),
        (Path("/dev/zero"), "it is a device"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "loop", "symbolic links"),
    ):
        with pytest.raises(ConfigError, match=rf"{path}: cannot be read: .*{message}"):
            check_regular_file(path)


def test_bytes_that_are_no_text_are_told_by_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"one\ntwo\n\xff\n")
    with pytest.raises(ConfigError, match=r"text, line 3: is not a text in UTF-8"):
        read_text(tmp_path / "text")


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 10_000 + "]" * 10_000, "9" * 5000, "[" * 17 + "]" * 17]
)
def test_what_is_no_json_of_ours_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^a: is (not valid JSON|nested more than 16 deep)"):
        parse_json(text, "a")


def test_messages_quote_little() -> None:
    assert shorten("x" * 500) == "'" + "x" * 79 + "…"
