import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedssl.base.temporary import remove_stale_folders, temporary_folder

STAY = """
import sys, time
from fedssl.base.temporary import temporary_folder
with temporary_folder("kept-", sys.argv[1]) as folder:
    (folder / "secret").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_it_is_this_users_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    with temporary_folder("kind-", str(tmp_path)) as folder:
        assert folder.name.startswith("fedssl-kind-")
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "file").write_text("x")
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no locks of this kind")
def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    others = tmp_path / "fedssl-runs"
    others.mkdir()
    (others / "model").write_text("x")
    (tmp_path / "fedssl-link").symlink_to(others)
    (tmp_path / "fedssl-file").write_text("x")
    command = [sys.executable, "-c", STAY, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=os.getcwd()) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        remove_stale_folders(str(tmp_path))
        assert (left / "secret").exists(), "its process lives"
        process.send_signal(signal.SIGKILL)
        process.wait()
    with temporary_folder("", str(tmp_path)) as own:
        assert not left.exists()
        remove_stale_folders(str(tmp_path))
        assert own.exists()
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"fedssl-runs", "fedssl-link", "fedssl-file"}
    assert (others / "model").exists()
