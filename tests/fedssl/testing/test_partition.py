"""The kit of partitions: each of ours keeps the contract, and each breach is found."""

from typing import Any

import pytest

from fedssl.partitions import PARTITIONS
from fedssl.testing import check_partition
from tests.tools import breaches

PARTITION_FIELDS: dict[str, dict[str, Any]] = {
    "dirichlet": {"alpha": 0.5},
    "shards": {"shards_per_client": 2},
    "classes": {"classes_per_client": 2},
    "quantity": {"alpha": 1.0},
    "natural": {"field": "group"},
}
"""What has no default."""


@pytest.mark.parametrize("name", PARTITIONS)
def test_every_partition(name: str) -> None:
    check_partition(name, **PARTITION_FIELDS.get(name, {}))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("Floating", r"assign must return int64 \[120\].* float64"),
        ("Far", "assign gives clients 1 to 4, and there are 4"),
        ("Whimsical", "assign gives other clients for the same state"),
        ("Nameless", "client_names gives 1 names for 4 clients"),
        ("Labelled", "fails without labels, .* say by_label = True"),
    ],
)
def test_a_breach_is_found(broken: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_partition(getattr(breaches, broken))


def test_what_is_broken_there_is_whole_by_its_class_and_by_its_path() -> None:
    check_partition(breaches.Deal)
    check_partition(f"{breaches.__name__}.Deal")
