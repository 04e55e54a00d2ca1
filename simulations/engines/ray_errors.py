"""Words for a run that Ray ends: where a cluster is lost on this machine, it ends the process.

It does so from within, at once, and asks nobody. So another process waits for it, and speaks.
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
"""How long Ray may be there after it has ended the run."""
_WAIT = """
import socket, sys, time
raylet, words, seconds = sys.argv[1:]
# A pipe that closes without a word: the run was ended, and not by Ray if that stays.
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
def last_words(raylet: str) -> Iterator[None]:
    """Have it said if Ray ends this process meanwhile.

    Parameters
    ----------
    raylet : str
        The socket on which Ray listens on this machine.
    """
    waiting = subprocess.Popen(
        [sys.executable, "-I", "-c", _WAIT, raylet, WORDS, str(SECONDS)],
        stdin=subprocess.PIPE,
        # Ctrl-C is not for it.
        start_new_session=True,
    )
    try:
        yield
    finally:
        waiting.communicate(b"the run has ended by itself")
