"""The kit of client rules: each of ours keeps the contract, and each breach is found."""

import pytest

from fedssl.client_rules import CLIENT_RULES
from fedssl.testing import check_client_rule
from tests.tools import breaches


@pytest.mark.parametrize("name", CLIENT_RULES)
def test_every_client_rule(name: str) -> None:
    check_client_rule(name)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("Leaking", "first round fails with ValueError: .* would send the tensor secret"),
        ("Boasting", "its metric size is 2.0, and it declares 0 to 1"),
        ("Moody", "gives other bits for the same client and round"),
        ("Gambling", "draws from torch's global generator"),
        ("Meddling", "sets metrics_only, but clients train differently with it"),
        ("Unready", "remember fails with AttributeError if neither initial_tensors nor"),
    ],
)
def test_a_breach_is_found(broken: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_client_rule(getattr(breaches, broken))


def test_what_is_broken_there_is_whole_by_its_class_and_by_its_path() -> None:
    check_client_rule(breaches.Rule)
    check_client_rule(f"{breaches.__name__}.Rule")
