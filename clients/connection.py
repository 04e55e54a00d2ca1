"""A device's connection to the server: Flower's SuperNode, in another process."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clients.child_process import ChildProcess
from clients.flower_adapter import supernode
from clients.flower_adapter.process_output import Refusal, find_refusal
from clients.flower_adapter.runtime_api import Runtime, make_secret
from clients.network import find_free_port


class Connection:
    """A SuperNode that runs in another process.

    Parameters
    ----------
    process : ChildProcess
        The process of the SuperNode.
    runtime : Runtime
        The API from which its tasks are claimed.
    answer_file : Path
        A file whose time the process updates whenever the server has answered it.
    """

    def __init__(self, process: ChildProcess, runtime: Runtime, answer_file: Path):
        self.runtime = runtime
        self._process = process
        self._answer_file = answer_file
        self._answered_at = -1
        self._since = time.monotonic()
        self.was_answered = False
        """Whether the server has ever answered the SuperNode."""

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.ended

    def silent_seconds(self) -> float:
        """Return the seconds since the server's last answer, or since the start without one."""
        try:
            answered_at = self._answer_file.stat().st_mtime_ns
        except OSError:
            answered_at = -1
        if answered_at != self._answered_at:
            self._answered_at, self._since, self.was_answered = answered_at, time.monotonic(), True
        return time.monotonic() - self._since

    def refusal(self) -> Refusal | None:
        """Return why the server refuses this client; None where the process ended otherwise."""
        return find_refusal(self._process.last_lines)


@contextmanager
def connect(
    arguments: Sequence[str],
    *,
    trusted: Path | None,
    log: Path,
    on_error: Callable[[str], None],
) -> Iterator[Connection]:
    """Return a context in which a SuperNode runs.

    Parameters
    ----------
    arguments : Sequence[str]
        The arguments of ``flower-supernode``: the server, the keys and the node's config.
    trusted : Path | None
        Flower's file of trusted entities, whose apps Flower then runs; None to leave tasks to be
        claimed from the connection's ``runtime``.
    log : Path
        The file for its output.
    on_error : Callable[[str], None]
        Called with each text that Flower marks as an error.
    """
    with ExitStack() as stack:
        secret, secret_file = stack.enter_context(make_secret())
        answer_file = secret_file.with_name("spoken")
        port = find_free_port()
        options = [str(answer_file), *arguments, "--host", "127.0.0.1", "--port", str(port)]
        if trusted is None:
            options += ["--isolation", "process"]
            options += ["--superexec-auth-secret-file", str(secret_file)]
        else:
            options += ["--trusted-entities", str(trusted)]
        process = stack.enter_context(ChildProcess(supernode.COMMAND, options, log, on_error))
        runtime = Runtime(f"127.0.0.1:{port}", secret)
        stack.callback(runtime.close)
        yield Connection(process, runtime, answer_file)
