import os
import subprocess
import sys

import pytest

from clients.limits import limit_cores, limit_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit them")


def in_a_process(code: str) -> str:
    """Return what Python prints: a limit stays for as long as its process."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_cores_are_limited_also_for_processes_that_are_started() -> None:
    code = (
        "import os, subprocess, sys; from clients.limits import limit_cores; limit_cores(1);"
        "print(subprocess.check_output([sys.executable, '-c',"
        "'import os; print(len(os.sched_getaffinity(0)))']).decode())"
    )
    assert in_a_process(code) == "1"


def test_more_cores_than_there_are_is_refused() -> None:
    count = len(os.sched_getaffinity(0)) + 1
    with pytest.raises(ValueError, match=rf"--threads = {count}: there are only"):
        limit_cores(count)


def test_more_memory_than_allowed_is_an_error_and_not_the_end() -> None:
    code = (
        "from clients.limits import limit_memory\n"
        "limit_memory(100); small = bytearray(40_000_000)\n"
        "try: bytearray(200_000_000)\n"
        "except MemoryError: print('refused')"
    )
    assert in_a_process(code) == "refused"


def test_elsewhere_limits_are_refused_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ValueError, match="--memory = 5: only Linux can limit it"):
        limit_memory(5)
