import math
import subprocess
import sys

import pytest

from clients.connection import refusal_in

REFUSED = """ERROR :     Exit Code: 305
Failed to initialize the connection to the SuperLink.
[code: {code}] {said}

For more information, visit: <https://flower.ai>""".splitlines()


def flower_said(code: int, said: str) -> list[str]:
    return [line.format(code=code, said=said) for line in REFUSED]


def test_a_key_that_is_unknown_or_still_counted_is_tried_again_for_longer_than_it_counts() -> None:
    refusal = refusal_in(flower_said(2004, "Node activation failed."))
    assert refusal is not None
    assert "earlier connection" in refusal.reason
    # Flower counts a node that is silent as here for 60 s.
    assert 60 < refusal.patience < 300


def test_another_refusal_is_not_tried_again() -> None:
    refusal = refusal_in(flower_said(2001, "No key.\x1b[2J"))
    assert refusal is not None
    assert refusal.reason == "No key.\\x1b[2J (Flower's code 2001)"
    assert refusal.patience == 0


def test_a_clock_that_is_wrong_is_said_and_waited_for() -> None:
    refusal = refusal_in(["INFO : well", "refused by the server: Invalid timestamp"])
    assert refusal is not None
    assert "clock" in refusal.reason
    assert refusal.patience == math.inf


@pytest.mark.parametrize(
    "lines", [[], ["INFO : well"], ["refused by the server: Invalid node ID"], ["the server ended"]]
)
def test_what_is_no_refusal_is_none(lines: list[str]) -> None:
    assert refusal_in(lines) is None


def test_the_supernodes_process_imports_no_pytorch() -> None:
    code = (
        "import sys, clients.child, clients.supernode, flwr.supernode.cli; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
