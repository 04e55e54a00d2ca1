"""Ctrl-C in a moment in which Python drops what is raised."""

import subprocess
import sys

PROGRAM = """
import os, signal, time, weakref
from simulations.cli.interrupts import lose_no_ctrl_c, stop_like_ctrl_c

stop_like_ctrl_c()
lose_no_ctrl_c()
lose_no_ctrl_c()


class Thing:
    pass


thing = Thing()
weakref.finalize(thing, os.kill, os.getpid(), signal.{name})
del thing
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("stopped")
"""


def test_a_ctrl_c_while_an_object_is_deleted_stops_the_command() -> None:
    for name in ("SIGINT", "SIGTERM"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(name=name)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")


def test_other_errors_that_python_drops_are_still_told() -> None:
    program = (
        PROGRAM.format(name="SIGINT")
        .replace("os.kill, os.getpid(), signal.SIGINT", "os.close, -1")
        .replace("time.sleep(60)", "pass")
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Bad file descriptor" in done.stderr
