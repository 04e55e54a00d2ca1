"""The kit of terms: each of ours keeps the contract, and each breach is found."""

import pytest

from fedssl.objectives import TERMS
from fedssl.testing import check_term
from tests.tools import breaches


@pytest.mark.parametrize("name", TERMS)
def test_every_term(name: str) -> None:
    check_term(name)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("WritingSize", "writes to the projections"),
        ("Idle", "no gradient of what it adds reaches the encoder"),
        ("Vain", "no gradient reaches its head.weight"),
    ],
)
def test_a_breach_is_found(broken: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_term(getattr(breaches, broken))


def test_what_is_broken_there_is_whole_by_its_class_and_by_its_path() -> None:
    check_term(breaches.Size)
    check_term(f"{breaches.__name__}.Size")


def test_what_no_config_could_name_is_refused() -> None:
    class Inner(breaches.Size):
        """Cannot be reached."""

    with pytest.raises(ValueError, match="define it at the top level of a module"):
        check_term(Inner)
    with pytest.raises(ValueError, match=r"must be a subclass of .*\.Term"):
        check_term(breaches.Rule)  # type: ignore[arg-type]
