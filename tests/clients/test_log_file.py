import os
from pathlib import Path

import pytest

from clients import log_file
from clients.log_file import LogFile


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.log"
    for text in ("first", "100% {second}"):
        log = LogFile(path)
        log.write(text)
        log.close()
    assert path.read_text() == "first\n100% {second}\n"


def test_it_keeps_the_newest_lines_in_a_limited_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "BYTES", 1000)
    log = LogFile(tmp_path / "a.log")
    for number in range(1000):
        log.write(f"line {number}")
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["a.log", "a.log.1", "a.log.2"]
    assert sum(file.stat().st_size for file in files) <= 3000
    kept = "".join(file.read_text() for file in reversed(files)).splitlines()
    assert kept == [f"line {number}" for number in range(1000 - len(kept), 1000)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_loses_lines_and_raises_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.log").symlink_to("/dev/full")
    log = LogFile(tmp_path / "a.log")
    log.write("lost")
    log.close()
    assert capsys.readouterr().err == ""
