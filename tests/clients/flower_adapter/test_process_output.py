import math

import pytest

from clients.flower_adapter.process_output import find_error, find_refusal

REFUSED = """ERROR :     Exit Code: 305
Failed to initialize the connection to the SuperLink.
[code: {code}] {said}

For more information, visit: <https://flower.ai>""".splitlines()


def flower_said(code: int, said: str) -> list[str]:
    return [line.format(code=code, said=said) for line in REFUSED]


def test_a_key_that_is_unknown_or_still_counted_is_tried_again_for_longer_than_it_counts() -> None:
    refusal = find_refusal(flower_said(2004, "Node activation failed."))
    assert refusal is not None
    assert "earlier connection" in refusal.reason
    # Flower counts a node that is silent as here for 60 s.
    assert 60 < refusal.patience < 300


def test_another_refusal_is_not_tried_again() -> None:
    refusal = find_refusal(flower_said(2001, "No key.\x1b[2J"))
    assert refusal is not None
    assert refusal.reason == "No key.\\x1b[2J (Flower's code 2001)"
    assert refusal.patience == 0


def test_a_clock_that_is_wrong_is_said_and_waited_for() -> None:
    refusal = find_refusal(["INFO : well", "refused by the server: Invalid timestamp"])
    assert refusal is not None
    assert "clock" in refusal.reason
    assert refusal.patience == math.inf


@pytest.mark.parametrize(
    "lines", [[], ["INFO : well"], ["refused by the server: Invalid node ID"], ["the server ended"]]
)
def test_what_is_no_refusal_is_none(lines: list[str]) -> None:
    assert find_refusal(lines) is None


def test_an_error_is_told_from_other_lines_with_colours_and_without() -> None:
    assert find_error("\x1b[91mERROR \x1b[0m:     no port") == "no port"
    assert find_error("ERROR :     Exit Code: 305") == "Exit Code: 305"
    assert find_error("\x1b[92mINFO\x1b[0m: no ERROR : here") is None
