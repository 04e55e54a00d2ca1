"""What is said where Ray ends the process of a run, and that nothing is said where it does not."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.engines import ray_errors as ray_words

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs sockets that are files")

# Without the package, whose import takes seconds.
RUN = """
import os, sys
exec(open(sys.argv[1]).read())
SECONDS = 0.5
with report_ray_exit(sys.argv[2]):
    eval(sys.argv[3])
"""


def said(raylet: Path, end: str) -> str:
    command = [sys.executable, "-c", RUN, ray_words.__file__, str(raylet), end]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60)
    return done.stderr


def test_a_run_that_ended_with_its_ray_is_told_how_to_go_on(tmp_path: Path) -> None:
    assert said(tmp_path / "gone", "os._exit(1)") == ray_words.WORDS + "\n"


def test_a_run_that_was_killed_while_ray_lives_is_not(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "there"))
        there.listen(20)
        assert said(tmp_path / "there", "os._exit(1)") == ""


def test_a_run_that_ends_by_itself_is_not(tmp_path: Path) -> None:
    assert said(tmp_path / "gone", "None") == ""
