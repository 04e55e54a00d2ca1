"""Report that Ray has ended the process of a run, as it does where the cluster is lost.

Ray ends the process from within, without an exception. So another process waits for that, and
prints the error.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WORDS = (
    "error: Ray has ended this run: the cluster, or this machine's part of it, is lost; all "
    "finished rounds are kept: go on by --resume, with engine.name=local or another engine.address"
)
SECONDS = 10.0
"""The seconds that Ray may still run after it has ended the process of the run."""
_WAIT = """
import socket, sys, time
raylet, words, seconds = sys.argv[1:]
# The pipe closed without a message: the run was killed, and not by Ray if Ray still runs.
ended = not sys.stdin.buffer.read()
end = time.monotonic() + float(seconds)
while ended and time.monotonic() < end:
    try:
        with socket.socket(socket.AF_UNIX) as there:
            there.connect(raylet)
    except OSError:
        print(words, file=sys.stderr)
        break
    time.sleep(0.2)
"""


@contextmanager
def report_ray_exit(raylet: str) -> Iterator[None]:
    """Return a context in which an error is printed if Ray ends this process.

    Parameters
    ----------
    raylet : str
        The path of the socket on which Ray listens on this machine.
    """
    waiting = subprocess.Popen(
        [sys.executable, "-I", "-c", _WAIT, raylet, WORDS, str(SECONDS)],
        stdin=subprocess.PIPE,
        # So that it does not get Ctrl-C.
        start_new_session=True,
    )
    try:
        yield
    finally:
        waiting.communicate(b"the run has ended by itself")
