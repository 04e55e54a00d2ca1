"""The kit of measures: each of ours keeps the contract, and each breach is found."""

import pytest

from fedssl.evaluation import MEASURES
from fedssl.testing import check_measure
from tests.tools import breaches


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure(name: str) -> None:
    try:
        check_measure(name)
    except ValueError as error:
        if "which is not installed" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("Changing", "gives other figures of an equal subject"),
        ("Spoiling", "changes the encoder"),
        ("Undefined", "its figure figure is nan"),
        ("Taken", "every round has a figure .'seconds'."),
        ("Claiming", "can be had without labels"),
        ("Denying", "fails without labels; say `labels = True`"),
        ("Verbose", "its details are no JSON"),
    ],
)
def test_a_breach_is_found(broken: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_measure(getattr(breaches, broken))


def test_what_is_broken_there_is_whole_by_its_class_and_by_its_path() -> None:
    check_measure(breaches.Figure)
    check_measure(f"{breaches.__name__}.Figure")
