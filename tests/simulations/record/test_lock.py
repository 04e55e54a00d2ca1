import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedssl.base.files import WriteError
from simulations import ConfigError, Experiment, run
from simulations.record.lock import LOCK, LockedError, is_temporary, lock_folder
from simulations.record.run_folder import RunFolder

HOLD = """
import sys, time
from pathlib import Path
from simulations.record.lock import lock_folder
with lock_folder(Path(sys.argv[1]), print):
    print("holds", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> "subprocess.Popen[str]":
    """Start a process that writes in a folder, until its input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=30)


def test_a_second_process_is_refused_by_name_and_a_dead_ones_lock_is_taken(tmp_path: Path) -> None:
    process = hold(tmp_path)
    told = json.loads((tmp_path / LOCK).read_text())
    assert told["pid"] == process.pid
    with (
        pytest.raises(LockedError) as error,
        lock_folder(tmp_path, print),
    ):
        raise AssertionError
    expected = f"{tmp_path}: process {process.pid} on {told['host']}, since {told['since']}, writes"
    assert str(error.value).startswith(expected)
    assert "--out" in str(error.value)
    process.send_signal(signal.SIGKILL)
    end(process)
    assert (tmp_path / LOCK).exists()
    with lock_folder(tmp_path, print):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_folders_that_were_made_and_stayed_empty_go(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "a" / "b", print):
        assert (tmp_path / "a" / "b" / LOCK).exists()
    assert not list(tmp_path.iterdir())
    with lock_folder(tmp_path / "a" / "b", print):
        (tmp_path / "a" / "mine").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]


def test_different_names_do_not_exclude_each_other(tmp_path: Path) -> None:
    with lock_folder(tmp_path, print, ".lock-1-of-2"), lock_folder(tmp_path, print, ".lock-2-of-2"):
        assert all(is_temporary(path.name) for path in tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"\0\xff", b"[]", b'{"host": 1}', b'{"pid": null}'])
def test_a_holder_that_cannot_be_read_is_another_process(tmp_path: Path, content: bytes) -> None:
    with lock_folder(tmp_path, print):
        (tmp_path / LOCK).write_bytes(content)
        with (
            pytest.raises(LockedError, match="another process writes there"),
            lock_folder(tmp_path, print),
        ):
            raise AssertionError


def test_no_control_characters_of_a_lock_are_shown(tmp_path: Path) -> None:
    with lock_folder(tmp_path, print):
        told = {"host": "a\x1b[2J\n", "pid": 7, "since": "now"}
        (tmp_path / LOCK).write_text(json.dumps(told))
        with (
            pytest.raises(LockedError, match=r"process 7 on a\\x1b\[2J\\n"),
            lock_folder(tmp_path, print),
        ):
            raise AssertionError


def test_a_file_system_without_locks_is_told_and_nobody_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    said: list[str] = []
    with lock_folder(tmp_path, said.append), lock_folder(tmp_path, said.append):
        assert not list(tmp_path.iterdir())
    assert (
        said
        == [f"{tmp_path}: this file system has no locks: see that nothing else writes there"] * 2
    )


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(WriteError, match=r"file/run/\.lock: cannot"),
        lock_folder(tmp_path / "file" / "run", print),
    ):
        raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize("resume", [True, False])
def test_a_run_in_a_folder_that_is_written_to_changes_nothing(
    small: Callable[..., Experiment], tmp_path: Path, resume: bool
) -> None:
    out = tmp_path / "run"
    run(small("rounds=1"), out)
    with RunFolder(out).lock(print):
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        with pytest.raises(ConfigError, match=f"process {os.getpid()} on .* writes there"):
            run(small("rounds=1"), out, resume=resume)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_what_a_start_that_was_killed_left_is_no_content(
    small: Callable[..., Experiment], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in (LOCK, ".config.yaml.writing", ".config.yaml.0a1b2c3d.writing"):
        (out / name).write_text("half")
    assert RunFolder(out).is_empty()
    run(small("rounds=1"), out, resume=True)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
