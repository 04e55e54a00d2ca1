"""Words for a run that Ray ends: where it is lost on this machine, its library ends the process.

It does so from within, at once, and asks nobody. So another process waits for it, and speaks.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

WORDS = (
    "error: Ray has ended this run, since it was lost on this machine; all finished rounds are "
    "kept: go on by --resume, with engine.name=local or another engine.address"
)
# A pipe that closes without a word: the run was ended. By Ray, if that is no longer there; else it
# was killed.
_WAIT = """
import socket, sys
raylet, words = sys.argv[1:]
if not sys.stdin.buffer.read():
    try:
        socket.socket(socket.AF_UNIX).connect(raylet)
    except OSError:
        print(words, file=sys.stderr)
"""


@contextmanager
def last_words() -> Iterator[None]:
    """Have it said if Ray ends this process meanwhile; Ray must be running."""
    here = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    (raylet,) = (node["RayletSocketName"] for node in nodes if node["NodeID"] == here)
    waiting = subprocess.Popen(
        [sys.executable, "-I", "-c", _WAIT, raylet, WORDS],
        stdin=subprocess.PIPE,
        # Ctrl-C is not for it.
        start_new_session=True,
    )
    try:
        yield
    finally:
        waiting.communicate(b"the run has ended by itself")
