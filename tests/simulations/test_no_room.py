"""A disk that is full, a limit of a file's size, a folder that is read-only."""

import errno
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedssl.base.files import WriteError
from simulations import Experiment, RunError, load_experiment, run
from simulations.cli import app
from simulations.progress.display import QuietDisplay
from simulations.record.run_folder import RunFolder
from tests.tools.killed_runs import found_in, write_tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the config of a tiny experiment; a finished run of it lies beside it."""
    root = tmp_path_factory.mktemp("tiny")
    write_tiny(root)
    run(load_experiment(root / "tiny.yaml"), root / "straight")
    return root / "tiny.yaml"


@pytest.fixture
def experiment(tiny: Path) -> Experiment:
    return load_experiment(tiny)


class Said(QuietDisplay):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str) -> None:
        self.texts.append(text)


@contextmanager
def full_at(name: str, count: int = 1) -> Iterator[None]:
    """Let the disk be full from the moment on that a file is written for the count-th time."""
    real, left = os.fsync, count
    pattern = re.compile(rf"\.?{re.escape(name)}(\.[0-9a-f]{{8}}\.writing)?")

    def fsync(file: int) -> None:
        nonlocal left
        if pattern.fullmatch(os.path.basename(os.readlink(f"/proc/self/fd/{file}"))):
            left -= 1
            if left <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("name", "count", "done"),
    [
        ("config.yaml", 1, 0),
        ("partition.csv", 1, 0),
        ("metrics.jsonl", 2, 1),
        ("divergence.csv", 4, 3),
        ("predictions.npz", 2, 3),
        ("client-1-round-1.safetensors", 1, 2),
        ("model-round-0.safetensors", 1, 1),
        ("model-round-2.safetensors", 1, 3),
        ("strategy-round-1.safetensors", 1, 2),
        ("checkpoint-before.json", 2, 3),
        ("checkpoint.json", 2, 2),
        ("model.safetensors", 1, 3),
        ("summary.json", 1, 3),
    ],
)
def test_a_run_on_a_full_disk_says_so_and_can_be_gone_on_with(
    experiment: Experiment, tiny: Path, tmp_path: Path, name: str, count: int, done: int
) -> None:
    out = tmp_path / "run"
    with full_at(name, count), pytest.raises(RunError) as error:
        run(experiment, out)
    told = str(error.value)
    assert re.fullmatch(
        rf"{re.escape(str(out))}/\S*{re.escape(name)}: cannot be written: No space left on device; "
        "make room; all finished rounds are kept: go on by --resume",
        told,
    )
    assert len(RunFolder(out).read_metrics()) == done
    assert not [left for left in names(out) if left.endswith(".writing") or ".lock" in left]
    run(experiment, out, resume=True)
    assert found_in(out) == found_in(tiny.parent / "straight")


@pytest.mark.parametrize("name", ["progress.png", "divergence.png", "report.html"])
def test_a_report_that_cannot_be_written_loses_no_run(
    experiment: Experiment, tiny: Path, tmp_path: Path, name: str
) -> None:
    out, said = tmp_path / "run", Said()
    with full_at(name):
        finished = run(experiment, out, display=said)
    assert finished.metrics[-1]["round"] == experiment.rounds
    assert (out / "summary.json").exists()
    assert said.texts[-1] == (
        "the run is finished, but its report could not be drawn: "
        f"{out / ('' if name == 'report.html' else 'plots') / name}: cannot be written: No space "
        f"left on device; make room; then draw it by fedssl report {out}"
    )
    assert CliRunner().invoke(app, ["report", str(out)]).exit_code == 0
    assert found_in(out) == found_in(tiny.parent / "straight")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["report"], "report.html"),
        (["report"], "partition.png"),
        (["export"], "encoder-safetensors.safetensors"),
        (["probe", "--protocol", "rankme"], "rankme.json"),
        (["replay", "--round", "1"], "client-1.safetensors"),
        (["replay", "--round", "1"], "replies.json"),
    ],
)
def test_a_command_on_a_full_disk_names_the_file_and_leaves_nothing_half(
    tiny: Path, tmp_path: Path, command: list[str], name: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny.parent / "straight", out)
    before = found_in(out)
    with full_at(name):
        result = CliRunner().invoke(app, [command[0], str(out), *command[1:]])
    assert result.exit_code == 2
    assert f"{name}: cannot be written: No space left on device; make room" in result.stderr
    assert not [left for left in names(out) if left.endswith(".writing")]
    after = found_in(out)
    assert after | {"names": before["names"]} == before


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_of_a_files_size_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with largest_file(3000):
        result = CliRunner().invoke(app, ["run", str(tiny), "--out", str(out)])
    assert result.exit_code == 1
    assert re.search(
        r"error: \S*checkpoint/model-round-0\.safetensors: cannot be written: File too large; raise"
        r" the limit of a file's size \(ulimit -f\); all finished rounds are kept: go on by "
        r"--resume\n$",
        result.stderr,
    )
    assert CliRunner().invoke(app, ["run", str(tiny), "--out", str(out), "--resume"]).exit_code == 0
    assert found_in(out) == found_in(tiny.parent / "straight")


@contextmanager
def memory_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a file system in memory, where this process may."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount")
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        # Later, where models are still mapped from it.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def test_a_real_disk_that_is_full_at_any_size(
    experiment: Experiment, tiny: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with memory_disk(disk, "1m"):
        ended: set[object] = set()
        for size in (8, 24, 48, 80, 160, 1024):
            out, said = disk / "run", Said()
            remount(disk, f"size={size}k")
            try:
                run(experiment, out, display=said)
            except (RunError, WriteError) as error:
                told = str(error)
                ended.add(len(RunFolder(out).read_metrics()))
            else:
                told = said.texts[-1] if said.texts else ""
                ended.add("report" if told else "finished")
            assert not told or f"{disk}/run" in told
            assert not told or "cannot be written: No space left on device; make room" in told
            remount(disk, "size=1m")
            run(experiment, out, resume=True)
            assert found_in(out) == found_in(tiny.parent / "straight"), size
            shutil.rmtree(out)
    assert ended == {0, 1, 2, 3, "report", "finished"}


def test_a_read_only_disk_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with memory_disk(disk, "1m"):
        out = disk / "run"
        shutil.copytree(tiny.parent / "straight", out)
        before = names(disk)
        remount(disk, "ro")
        for command in (
            ["run", str(tiny), "--resume", "--out", str(out)],
            ["run", str(tiny), "--out", str(disk / "new")],
            ["report", str(out)],
            ["export", str(out)],
            ["probe", str(out), "--protocol", "rankme"],
            ["replay", str(out), "--round", "1"],
        ):
            result = CliRunner().invoke(app, command)
            assert result.exit_code == 2, command
            assert re.search(
                r"error: \S+: cannot be written: Read-only file system; make it writable\S*\n$",
                result.stderr,
            ), command
        assert names(disk) == before
