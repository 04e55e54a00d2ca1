from pathlib import Path

import pytest

from fedssl.base.config_file import ConfigError
from simulations.deployment.number_record import NumberRecord


@pytest.fixture
def numbers(tmp_path: Path) -> NumberRecord:
    numbers = NumberRecord(tmp_path / "clients.json")
    assert [numbers.give(f"key {n}") for n in range(3)] == [0, 1, 2]
    numbers.revoke(1)
    numbers.write()
    return numbers


def test_what_was_written_is_read(numbers: NumberRecord) -> None:
    again = NumberRecord(numbers.path)
    assert again.all == numbers.all
    assert [one.revoked is None for one in again.all.values()] == [True, False, True]


def test_the_next_number_is_above_all(numbers: NumberRecord) -> None:
    numbers.add(7, None)
    assert numbers.give("new") == 8


def test_a_key_that_was_not_known_is_noted_and_no_other_replaces_it(numbers: NumberRecord) -> None:
    numbers.add(7, None)
    numbers.add(7, "key")
    numbers.add(7, "another")
    assert numbers.all[7].fingerprint == "key"
    assert numbers.owner("key") == numbers.all[7]
    assert numbers.owner("another") is None


def test_the_first_revocation_counts(numbers: NumberRecord) -> None:
    before = numbers.all[1]
    numbers.revoke(1)
    assert numbers.all[1] == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON"),
        ("[]", "it: Input should be"),
        ('{"version": 1}', "clients: Field required"),
        ('{"version": 2, "clients": []}', "was written by a newer fedssl"),
        ('{"version": 1, "clients": [{"number": -1}]}', r"clients\.0\.number"),
        ('{"version": 1, "clients": [{"number": "1"}]}', r"clients\.0\.number"),
        ('{"version": 1, "clients": [{"number": 1}, {"number": 1}]}', "has client 1 twice"),
        ('{"version": 1, "clients": [{"number": 1, "revoekd": "x"}]}', r"clients\.0\.revoekd"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "clients.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        NumberRecord(path)
    assert str(caught.value).startswith(str(path))
