"""Which tensors travel in a round, and which a client has of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedssl.training.transmission import TransmissionPlan

names = st.frozensets(st.text("abc.", min_size=1), max_size=4)


def test_by_default_all_travel_both_ways() -> None:
    plan = TransmissionPlan()
    assert not plan.absent_from_reply
    assert not plan.stored_on_client
    assert plan.newer_on_client({"a": 1}, 5) == []


@given(local=names, scheduled=names, withheld=names)
def test_what_is_local_or_withheld_comes_back_in_no_reply(
    local: frozenset[str], scheduled: frozenset[str], withheld: frozenset[str]
) -> None:
    plan = TransmissionPlan(
        local=tuple(local),
        scheduled=tuple(scheduled),
        merged=(0,) * len(scheduled),
        withheld=tuple(withheld),
    )
    assert plan.absent_from_reply == local | withheld
    assert plan.stored_on_client == local | scheduled


@pytest.mark.parametrize(
    ("visit", "newer"),
    [
        (1, []),
        (4, []),
        (5, ["encoder.bias"]),
        (6, ["encoder.bias"]),
        (7, ["encoder.bias", "encoder.conv"]),
    ],
)
def test_ones_own_layer_is_newer_until_a_round_merges_it(visit: int, newer: list[str]) -> None:
    plan = TransmissionPlan(scheduled=("encoder.conv", "encoder.bias"), merged=(6, 4))
    own = dict.fromkeys(("encoder.conv", "encoder.bias", "encoder.mean"), 2.0)
    assert sorted(plan.newer_on_client(own, visit)) == newer
    assert plan.newer_on_client({}, visit) == []


def test_each_scheduled_tensor_needs_a_round() -> None:
    with pytest.raises(ValueError, match="must have a round for each of scheduled"):
        TransmissionPlan(scheduled=("a",), merged=())
