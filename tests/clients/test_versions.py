import json

import pytest

from clients.versions import compare_clocks, compare_versions, list_versions, read_versions


def test_what_is_equal_and_what_differs_is_told() -> None:
    own = list_versions()
    assert compare_versions(own) == [f"{name}: both have {own[name]}" for name in own]
    other = own | {"torch": "1.0", "flower": "1.0", "python": "2.7"}
    told = dict(line.split(": ", 1) for line in compare_versions(other))
    assert told["fedssl"] == f"both have {own['fedssl']}"
    assert told["torch"].startswith(
        f"the server has 1.0, this device {own['torch']}: the last bits"
    )
    assert told["flower"].endswith("install the same on both")
    assert told["python"].endswith("it does not matter")


def test_what_the_server_says_is_read_back() -> None:
    assert read_versions(json.dumps(list_versions())) == list_versions()


@pytest.mark.parametrize("said", [None, 3, "", "[]", "{", '{"x": 1}', '{"torch": "' + "9" * 2000])
def test_what_says_no_versions_gives_none(said: object) -> None:
    assert read_versions(said) == {}


def test_what_a_server_says_stays_short() -> None:
    assert read_versions(json.dumps({"torch": ["\n" * 300]})) == {"torch": str(["\n" * 300])[:50]}


@pytest.mark.parametrize(
    ("ahead", "told"), [(-280.4, "280 s behind the server's"), (1.6, "to within 2 s")]
)
def test_clocks(ahead: float, told: str) -> None:
    assert told in compare_clocks(ahead)
