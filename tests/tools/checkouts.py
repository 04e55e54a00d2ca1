"""Processes that run the code of a checkout, to hold two of them to each other."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

SCRIPTS = Path(__file__).parents[1] / "in_checkout"


class CheckoutError(Exception):
    """A checkout cannot be used, or its process ended or refused a question."""


class Resident:
    """A process that answers questions with a checkout's own code; a context that ends it.

    Parameters
    ----------
    checkout : Path
        A folder with the repository as it is at some commit.
    script : str
        A script of `SCRIPTS` with a function ``answer``.
    log : Path
        Where what the process prints is kept.

    Raises
    ------
    CheckoutError
        The folder holds no checkout.
    """

    def __init__(self, checkout: Path, script: str, log: Path):
        home = checkout.resolve()
        if not (home / "fedssl" / "__init__.py").is_file():
            raise CheckoutError(f"{checkout}: is no checkout of fedssl (no fedssl/__init__.py)")
        self._checkout, self._log = checkout, log
        environment = {
            **os.environ,
            # The checkout first; beside the scripts lies what they use of their own.
            "PYTHONPATH": os.pathsep.join([str(home), str(SCRIPTS)]),
            "FLWR_TELEMETRY_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONSAFEPATH": "1",
        }
        with log.open("w") as printed:
            self._process = subprocess.Popen(
                [sys.executable, str(SCRIPTS / "serve.py"), str(SCRIPTS / script)],
                cwd=home,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                text=True,
            )

    def ask(self, question: object) -> Any:
        """Return the answer to a question, both of what JSON can hold.

        Raises
        ------
        CheckoutError
            The script raised an error, or the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(question), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            code = self._process.wait()
            last = self._log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise CheckoutError(f"the process of {self._checkout} ended ({code}): {last}")
        reply = json.loads(line)
        if "error" in reply:
            raise CheckoutError(reply["error"])
        return reply["answer"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        self._process.kill()
        self._process.communicate()
