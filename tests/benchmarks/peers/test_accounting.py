import os
import subprocess
import sys
import time

import pytest

from tests.benchmarks.peers import accounting
from tests.benchmarks.peers.accounting import end, tree_cpu_seconds

pytestmark = pytest.mark.skipif(
    accounting.missing() is not None, reason=accounting.missing() or "runs here"
)

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True)\ninput()"


def test_cpu_time_of_children_counts_while_they_run_and_after() -> None:
    before = sum(tree_cpu_seconds().values())
    child = subprocess.Popen(
        [sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout
    child.stdout.readline()
    running = tree_cpu_seconds()
    assert {os.getpid(), child.pid} <= running.keys()
    assert running[child.pid] >= 0.25
    child.communicate(b"\n")
    ended = tree_cpu_seconds()
    assert child.pid not in ended
    assert sum(ended.values()) >= before + 0.25


def test_other_programs_are_not_of_the_tree() -> None:
    assert os.getppid() not in tree_cpu_seconds()


def test_processes_that_do_not_end_are_killed() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    begin = time.monotonic()
    end([child.pid], seconds=0.1)
    assert child.wait() < 0
    assert time.monotonic() - begin < 30


def test_processes_that_have_ended_are_not_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    end([child.pid])
