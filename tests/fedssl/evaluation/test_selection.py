"""Label-free selection: hand-made runs, and scipy's Kendall."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from fedssl.evaluation.selection import Selection, kendall, pick
from tests.tools.evaluation import Noisy, a_subject

measure = Selection(Selection.Config()).measure

ROUNDS: list[dict[str, Any]] = [
    {"round": 0, "rankme": 5.0, "linear_accuracy": 0.3},
    {"round": 1, "rankme": 9.0, "linear_accuracy": 0.5, "lidar": 2.0},
    {"round": 2},
    {"round": 3, "rankme": 7.0, "linear_accuracy": 0.6, "lidar": 4.0},
]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_kendall_is_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    found = kendall(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(kendalltau(first, second).statistic)


def test_what_is_picked_and_what_it_costs() -> None:
    rows = [ROUNDS[0], ROUNDS[1], ROUNDS[3]]
    found = pick(rows, "rankme")
    assert (found["picked"], found["best"], found["accuracy"]) == (1, 2, 0.5)
    assert found["regret"] == pytest.approx(0.1)
    assert found["kendall"] == pytest.approx(1 / 3)


def test_rounds_of_a_run() -> None:
    found = measure(a_subject(Noisy(), rounds=ROUNDS))
    assert found.figures["rankme_picks_accuracy"] == 0.5
    assert found.figures["lidar_regret"] == 0
    assert found.details["rankme"]["picked"] == "round 1"
    assert found.details["rankme"]["best"] == "round 3"
    assert found.details["lidar"]["names"] == ["round 1", "round 3"]


def test_runs_are_compared_by_their_last_evaluated_round() -> None:
    run = a_subject(Noisy(), rounds=ROUNDS)
    other = replace(run, rounds=[{"round": 3, "rankme": 8.0, "linear_accuracy": 0.4}])
    found = measure(replace(run, others={"runs/b": other}))
    assert found.details["rankme"]["names"] == ["this run", "runs/b"]
    assert found.figures["rankme_regret"] == pytest.approx(0.2)
    assert found.figures["rankme_kendall"] == -1


def test_with_one_candidate_there_is_no_choice() -> None:
    with pytest.raises(ValueError, match="at least two"):
        measure(a_subject(Noisy(), rounds=ROUNDS[:1]))
