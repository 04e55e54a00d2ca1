"""Members by round: the draw has no gaps to notice, and stops change nothing."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simulations.record.checkpoint import Checkpoint, CheckpointFolder
from simulations.record.members import MemberChange, MemberRecord, describe_clients, sizes_of
from simulations.setup.cohort import draw_cohort, draw_cohort_of_members

Members = dict[int, int]
members = st.dictionaries(st.integers(0, 30), st.integers(0, 50), min_size=1, max_size=8)
MODEL = {"weight": torch.zeros(1)}


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=12),
    st.integers(0, 9),
    st.integers(1, 9),
    st.floats(0.01, 1),
)
def test_without_gaps_it_is_the_draw_of_every_engine(
    sizes: list[int], seed: int, server_round: int, participation: float
) -> None:
    expected = draw_cohort(seed, server_round, np.array(sizes), participation)
    # In whatever order they came.
    there = dict(reversed(list(enumerate(sizes))))
    assert draw_cohort_of_members(there, seed, server_round, participation) == expected


@given(members, st.integers(1, 9), st.floats(0.01, 1))
def test_only_members_are_drawn_the_largest_first(
    there: Members, server_round: int, participation: float
) -> None:
    cohort = draw_cohort_of_members(there, 0, server_round, participation)
    assert len(set(cohort)) == len(cohort) == max(1, round(participation * len(there)))
    assert set(cohort) <= there.keys()
    assert cohort == sorted(cohort, key=lambda client: (-there[client], client))


def drawn(script: list[Members], stops: dict[int, list[Members]]) -> list[list[int]]:
    """Draw a cohort each round; in some, be killed first, with other members each time."""
    cohorts: list[list[int]] = []
    with tempfile.TemporaryDirectory() as folder:
        record = MemberRecord()
        for number, there in enumerate(script, start=1):
            for others in stops.get(number, []):
                record.begin(number, others)
                draw_cohort_of_members(record.members(number), 0, number, 0.5)
                # Another process reads what the last finished round left.
                found = CheckpointFolder(Path(folder)).load()
                record = MemberRecord(found.members if found else ())
            record.begin(number, there)
            cohorts.append(draw_cohort_of_members(record.members(number), 0, number, 0.5))
            now = Checkpoint(number, MODEL, members=record.changes)
            CheckpointFolder(Path(folder)).save(now, changed=set())
        # What the record names is what was drawn from, whenever one asks.
        assert [dict(record.members(n)) for n in range(1, len(script) + 1)] == script
    return cohorts


@given(
    st.lists(members, min_size=1, max_size=6),
    st.dictionaries(st.integers(1, 6), st.lists(members, max_size=2), max_size=4),
)
def test_stops_at_any_round_change_no_cohort(
    script: list[Members], stops: dict[int, list[Members]]
) -> None:
    assert drawn(script, stops) == drawn(script, {})


def test_a_change_is_noted_where_members_or_sizes_change() -> None:
    record = MemberRecord()
    assert record.latest() == {}
    assert record.begin(1, {0: 5, 2: 0})
    assert not record.begin(2, {2: 0, 0: 5})
    assert record.begin(3, {0: 5, 2: 7})
    assert record.changes == (MemberChange(1, {0: 5, 2: 0}), MemberChange(3, {0: 5, 2: 7}))
    assert record.members(2) == {0: 5, 2: 0}
    # A round that is begun again forgets what was noted of it.
    assert not record.begin(3, {0: 5, 2: 0})
    assert len(record.changes) == 1


def test_a_checkpoint_without_members_is_as_before(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(Checkpoint(1, MODEL), changed=set())
    text = (tmp_path / "checkpoint.json").read_text()
    assert "members" not in text
    assert '"version": 2' in text
    found = CheckpointFolder(tmp_path).load()
    assert found is not None
    assert found.members == ()


@pytest.mark.parametrize(
    "changes",
    [
        (MemberChange(2, {0: 1}), MemberChange(1, {0: 2})),
        (MemberChange(1, {0: 1}), MemberChange(1, {0: 2})),
        (MemberChange(3, {0: 1}),),
        (MemberChange(1, {-1: 1}),),
        (MemberChange(1, {0: -1}),),
        (MemberChange(1, {2**40: 1}),),
        (MemberChange(0, {0: 1}),),
    ],
)
def test_members_that_cannot_be_are_a_damaged_checkpoint(
    tmp_path: Path, changes: tuple[MemberChange, ...]
) -> None:
    CheckpointFolder(tmp_path).save(Checkpoint(2, MODEL, members=changes), changed=set())
    with pytest.raises(ValueError, match=r"the checkpoint is damaged: checkpoint\.json names"):
        CheckpointFolder(tmp_path).load()


def test_clients_are_described() -> None:
    assert describe_clients([]) == "no clients"
    assert describe_clients(range(3)) == "clients 0 to 2"
    assert describe_clients([4]) == "client 4"
    assert describe_clients([5, 2]) == "clients 2, 5"
    assert describe_clients(range(1, 31)).endswith("19, 20 and 10 more")
    assert sizes_of({3: 2, 1: 5}) == [0, 5, 0, 2]
    assert sizes_of({}) == []
