import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from clients.child_process import ChildProcess
from clients.log_file import crash_file

HERE = "tests.clients.test_child_process"


def say() -> None:
    print("listening", *sys.argv[1:], flush=True)
    time.sleep(60)


def fail() -> None:
    print("\x1b[92mINFO\x1b[0m: well")
    print("\x1b[91mERROR \x1b[0m:     no port", flush=True)
    sys.exit("cannot listen")


def stay() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("staying", flush=True)
    time.sleep(60)


def start() -> None:
    """Start a child, say which, and stay."""
    with ChildProcess(f"{HERE}:say", [], Path(sys.argv[1])) as child:
        print(child._process.pid, flush=True)
        time.sleep(60)


def wait_for(child: ChildProcess, text: str) -> None:
    deadline = time.monotonic() + 30
    while not any(text in line for line in child.last_lines):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_runs_while_it_is_wanted_and_its_output_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "say.log"
    with ChildProcess(f"{HERE}:say", ["here"], log) as child:
        wait_for(child, "listening here")
        ended_early = child.ended
    assert child.ended
    assert not ended_early
    with ChildProcess(f"{HERE}:say", ["again"], log) as child:
        wait_for(child, "listening again")
    lines = log.read_text().splitlines()
    assert [line for line in lines if not line.startswith("--- ")] == [
        "listening here",
        "listening again",
    ]
    assert lines[0].endswith(f"start of {HERE}:say")
    assert not crash_file(log).exists(), "we ended it"


def test_its_own_end_is_seen_and_its_last_words(tmp_path: Path) -> None:
    trouble: list[str] = []
    with ChildProcess(f"{HERE}:fail", [], tmp_path / "log", trouble.append) as child:
        wait_for(child, "cannot listen")
        deadline = time.monotonic() + 30
        while not child.ended:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert trouble == ["no port"]
    head, *last = crash_file(tmp_path / "log").read_text().splitlines()
    assert head.endswith(f"{HERE}:fail ended with exit code 1")
    assert last[-1] == "cannot listen"


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with ChildProcess(f"{HERE}:stay", [], tmp_path / "log", grace=0.2) as child:
        wait_for(child, "staying")
    assert child.ended


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = f"import sys; from {HERE} import start; start()"
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 30
    while runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
