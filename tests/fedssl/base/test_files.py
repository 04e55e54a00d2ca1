import errno
import fcntl
import os
import resource
import stat
from pathlib import Path

import pytest

from fedssl.base.files import (
    NoLocksError,
    WriteError,
    append_text,
    atomic_write,
    is_leftover,
    lock_file,
    make_folder,
    remove_leftovers,
    sync,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "before"
        assert all(is_leftover(name) for name in names(tmp_path) if name != "a.txt")
    assert path.read_text() == "half"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, events = tmp_path / "a.txt", list[str]()

    def fsync(file: int) -> None:
        content = Path(f"/proc/self/fd/{file}").read_text()
        events.append(f"sync {content}")

    real = os.replace

    def replace(old: Path, new: Path) -> None:
        events.append("rename")
        real(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    with atomic_write(path) as temporary:
        temporary.write_text("all")
    assert events == ["sync all", "rename"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise error

    with pytest.raises(error), atomic_write(path) as temporary:
        fail(temporary)
    assert path.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "fix"),
    [(errno.ENOSPC, "make room"), (errno.EFBIG, "ulimit -f"), (errno.EROFS, "make it writable")],
)
def test_an_error_names_the_file_and_the_fix(tmp_path: Path, number: int, fix: str) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(WriteError) as error, atomic_write(path):
        raise OSError(number, os.strerror(number))
    assert str(error.value) == f"{path}: cannot be written: {os.strerror(number)}; " + (
        fix if fix != "ulimit -f" else "raise the limit of a file's size (ulimit -f)"
    )
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"file/below: cannot be written"):
        make_folder(tmp_path / "file" / "below")


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_write(path) as first, atomic_write(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_who_may_read_a_file_is_asked_for_less_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for mode in (0o666, 0o600):
            with atomic_write(tmp_path / "a", mode):
                pass
            assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode & ~0o022
    finally:
        os.umask(before)


def test_texts_are_added(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    append_text(path, "one\n")
    append_text(path, "zwölf\n")
    sync(path)
    assert path.read_text(encoding="utf-8") == "one\nzwölf\n"


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit of a file's size here")
def test_a_text_that_does_not_fit_is_not_there_in_part(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    append_text(path, "one\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        # The system takes the first 96 bytes.
        with pytest.raises(WriteError, match=r"rows: cannot be written: File too large; raise"):
            append_text(path, "x" * 200 + "\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "one\n"


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = tmp_path / ".a.txt.0123abcd.writing"
    dead.write_text("half")
    (tmp_path / ".config.yaml.writing").write_text("of an earlier version")
    (tmp_path / ".notes.writing").write_text("somebody's")
    with atomic_write(tmp_path / "b.txt") as living:
        remove_leftovers([tmp_path, tmp_path / "not there"])
        assert names(tmp_path) == sorted([".notes.writing", living.name])
    assert names(tmp_path) == [".notes.writing", "b.txt"]


def test_a_claim_is_for_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = lock_file(path)
    assert first is not None
    assert lock_file(path) is None
    os.close(first)
    second = lock_file(path)
    assert second is not None
    os.close(second)


def test_a_claim_on_a_file_that_was_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    real, removed = fcntl.flock, False

    def flock(file: int, operation: int) -> None:
        # Between our opening it and locking it, its owner removes it and is gone.
        nonlocal removed
        if not removed:
            removed = True
            path.unlink()
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    file = lock_file(path)
    assert file is not None
    assert os.path.samestat(os.fstat(file), path.stat())
    os.close(file)


def no_locks(file: int, operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_without_locks_files_are_still_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(NoLocksError):
        lock_file(tmp_path / "lock")
    (tmp_path / "lock").unlink()
    left = tmp_path / ".b.0123abcd.writing"
    left.touch()
    # Whether its writer lives cannot be told.
    remove_leftovers([tmp_path])
    with atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("all")
    assert names(tmp_path) == [left.name, "a"]
