"""A real federation on the loopback device, each part a command in a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from clients.network import find_free_port
from simulations.setup.prepare import Prepared


class Command:
    """`fedssl ARGUMENTS` in a process of its own."""

    def __init__(self, folder: Path, name: str, *arguments: str | Path):
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "simulations.cli", *map(str, arguments)]
        with self.log.open("a") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=folder, env=ENVIRONMENT
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, seconds: float = 90) -> None:
        self._wait(lambda: text in self.text, f"{text!r} was not printed", seconds)

    def wait(self, seconds: float = 90) -> int:
        self._wait(lambda: self.process.poll() is not None, "did not end", seconds)
        return self.process.returncode

    def _wait(self, done: Callable[[], bool], otherwise: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            ended = self.process.poll() is not None
            if time.monotonic() > deadline or (ended and not done()):
                raise AssertionError(f"{otherwise}; exit code {self.process.poll()}:\n{self.text}")
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.wait(20)

    def children(self) -> set[int]:
        """Return the processes that it started, and theirs."""
        return _below(self.process.pid)


class Federation:
    """Keys, examples and commands of a federation, all in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = find_free_port()
        self.started: list[Command] = []

    def run(self, *arguments: str | Path) -> Command:
        command = Command(self.folder, f"{arguments[0]}-{len(self.started)}", *arguments)
        self.started.append(command)
        return command

    def serve(self, config: Path, *arguments: str | Path) -> Command:
        return self.run("serve", config, "--port", str(self.port), "--out", "run", *arguments)

    def join(self, client: int, *arguments: str | Path, pki: str = "pki") -> Command:
        return self.run(
            *("join", "--server", f"localhost:{self.port}", "--device", "cpu"),
            *("--pki", f"{pki}/client-{client}", "--examples", f"examples-{client}"),
            *("--state", f"state-{client}", *arguments),
        )

    def write_examples(self, prepared: Prepared) -> None:
        """Write each client's examples as files, in their order and without labels."""
        for client in range(prepared.partition.clients):
            folder = self.folder / f"examples-{client}"
            folder.mkdir()
            for row in prepared.partition.indices(client):
                pixels = prepared.splits.train.examples[row].permute(1, 2, 0).numpy()
                Image.fromarray(pixels).save(folder / f"{row:05}.png")


@contextlib.contextmanager
def federation(folder: Path) -> Iterator[Federation]:
    made = Federation(folder)
    try:
        yield made
    finally:
        for command in made.started:
            for pid in {command.process.pid, *command.children()}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            command.process.wait()


def gone(pids: set[int], seconds: float = 10) -> bool:
    """Say whether all processes end within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}/cmdline").exists() and _runs(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    return False


def _below(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rsplit(") ", 1)[1].split()[1])
    found: set[int] = set()
    new = {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found |= new
    return found


# A proxy that nobody runs: on the loopback device none may be asked.
_DEAD = dict.fromkeys(
    ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy"),
    "http://127.0.0.1:9",
)
ENVIRONMENT = {**os.environ, **_DEAD, "PYTHONPATH": os.getcwd(), "COLUMNS": "200"}
