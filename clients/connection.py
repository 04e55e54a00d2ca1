"""A device's connection to the server: a SuperNode in a process of its own, and why it ends."""

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
    """A SuperNode that runs in a process of its own.

    Parameters
    ----------
    process : ChildProcess
        In which it runs.
    runtime : Runtime
        Gives its tasks.
    spoken : Path
        A file that the process touches whenever the server has answered it.
    """

    def __init__(self, process: ChildProcess, runtime: Runtime, spoken: Path):
        self.runtime = runtime
        self._process = process
        self._spoken = spoken
        self._seen = -1
        self._since = time.monotonic()
        self.has_spoken = False
        """Whether the server has ever answered it."""

    @property
    def ended(self) -> bool:
        """Whether the process runs no longer."""
        return self._process.ended

    def silent_seconds(self) -> float:
        """Return how long ago the server has answered it, or it was started."""
        try:
            seen = self._spoken.stat().st_mtime_ns
        except OSError:
            seen = -1
        if seen != self._seen:
            self._seen, self._since, self.has_spoken = seen, time.monotonic(), True
        return time.monotonic() - self._since

    def refusal(self) -> Refusal | None:
        """Return why the server refuses this client; None where that is not why it ended."""
        return find_refusal(self._process.last_lines)


@contextmanager
def connect(
    arguments: Sequence[str],
    *,
    trusted: Path | None,
    log: Path,
    on_error: Callable[[str], None],
) -> Iterator[Connection]:
    """Run a SuperNode.

    Parameters
    ----------
    arguments : Sequence[str]
        Of ``flower-supernode``: the server, the keys and the node's config.
    trusted : Path | None
        Flower's file of trusted entities, whose apps Flower then runs; None to have tasks wait for
        who claims them by the connection's ``runtime``.
    log : Path
        Where its output goes.
    on_error : Callable[[str], None]
        Called with what Flower marks as an error.
    """
    with ExitStack() as stack:
        secret, secret_file = stack.enter_context(make_secret())
        spoken = secret_file.with_name("spoken")
        port = find_free_port()
        options = [str(spoken), *arguments, "--host", "127.0.0.1", "--port", str(port)]
        if trusted is None:
            options += ["--isolation", "process"]
            options += ["--superexec-auth-secret-file", str(secret_file)]
        else:
            options += ["--trusted-entities", str(trusted)]
        process = stack.enter_context(ChildProcess(supernode.COMMAND, options, log, on_error))
        runtime = Runtime(f"127.0.0.1:{port}", secret)
        stack.callback(runtime.close)
        yield Connection(process, runtime, spoken)
