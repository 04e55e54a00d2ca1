"""Verdicts and costs on results with known figures."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest

from simulations.comparing import statistics
from simulations.comparing.arms import UNTRAINED
from simulations.comparing.findings import Finding, findings
from simulations.comparing.plan import Plan, Values
from simulations.comparing.results import Result, Results

Accuracies = Mapping[str, Sequence[float | None]]


class Made:
    """Results that were made up: final accuracies in per cent by strategy and seed."""

    def __init__(self, accuracies: Accuracies, examples: int = 100_000, **plan: Any):
        self.examples = examples
        names = tuple(accuracies)
        seeds = tuple(range(len(accuracies[names[0]])))
        given = {"family": names[1:], "strategies": names, **plan}
        self.plan = Plan(config="x", baseline=names[0], seeds=seeds, runs=(), **given)
        self.labels = [*names, UNTRAINED]
        self._accuracies = accuracies

    def of(self, label: str, cell: Values, seed: int) -> Result:
        value = 30.0 if label == UNTRAINED else self._accuracies[label][seed]
        if value is None:
            return Result(label, seed, [], 0, error="lost")
        rows = [
            {"round": 0, "linear_accuracy": 0.3, "bytes_up": 0, "bytes_down": 0},
            {"round": 1, "linear_accuracy": 0.35, "bytes_up": 10, "bytes_down": 20},
            {"round": 2, "bytes_up": 10, "bytes_down": 20, "client_seconds": 4.0},
            {"round": 3, "linear_accuracy": value / 100, "bytes_up": 10, "bytes_down": 20},
        ]
        right = (np.arange(self.examples) < self.examples * value / 100).astype(float)
        return Result(label, seed, rows, 5, right=right)


def found(accuracies: Accuracies, **plan: Any) -> dict[str, Finding]:
    lines = findings(cast(Results, Made(accuracies, **plan)))
    return {line.strategy: line for line in lines}


BASE = [40.0, 42.0, 41.0, 43.0, 42.5]


def shifted(*by: float) -> list[float]:
    return [value + more for value, more in zip(BASE, by, strict=True)]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((5.0, 5.4, 4.8, 5.1, 5.2), "higher"),
        ((-5.0, -5.4, -4.8, -5.1, -5.2), "lower"),
        ((0.5, 0.6, 0.5, 0.4, 0.5), "higher, but by less than 1 point"),
        ((0.1, -0.1, 0.2, 0.0, -0.1), "equivalent within ±1 point"),
        ((5.0, -4.0, 2.0, 0.5, -3.0), "no difference shown"),
        ((0.0, 0.0, 0.0, 0.0, 0.0), "the same accuracy in every seed"),
        # Equal in every seed: without spread there is nothing to tell chance from.
        ((0.5, 0.5, 0.5, 0.5, 0.5), "no difference shown"),
    ],
)
def test_verdicts_in_plain_words(differences: tuple[float, ...], verdict: str) -> None:
    line = found({"a": BASE, "b": shifted(*differences)})["b"]
    assert line.verdict == verdict
    assert line.difference
    assert line.difference.estimate.mean == pytest.approx(np.mean(differences))


def test_only_the_family_is_tested_and_adjusted_together() -> None:
    far, close = shifted(5.0, 5.4, 4.8, 5.1, 5.2), shifted(0.1, -0.1, 0.2, 0.0, -0.1)
    lines = found({"a": BASE, "b": far, "c": close, "d": far}, family=("b", "c"))
    one, other, outside = (lines[name].difference for name in "bcd")
    assert one
    assert other
    assert outside
    assert (one.p_adjusted, other.p_adjusted) == (2 * one.p, max(2 * one.p, other.p))
    assert (outside.p, outside.p_adjusted) == (one.p, None)
    assert lines["d"].verdict == lines[UNTRAINED].verdict == "exploratory"
    assert lines["a"].verdict == "baseline"


def test_a_p_that_is_small_only_unadjusted_is_not_enough() -> None:
    b = shifted(1.0, 3.0, 2.0, 4.0, 0.6)
    alone = found({"a": BASE, "b": b})["b"]
    among = found({"a": BASE, "b": b, **{name: shifted(5, -4, 2, 1, -3) for name in "cdef"}})["b"]
    assert alone.difference
    assert 0.02 < alone.difference.p < 0.05
    assert alone.verdict == "higher"
    assert among.verdict == "no difference shown, once adjusted"


def test_what_is_missing_is_not_tested_and_stays_in_the_family() -> None:
    far = shifted(5.0, 5.4, 4.8, 5.1, 5.2)
    lines = found({"a": BASE, "b": far, "c": [*far[:4], None]})
    assert lines["c"].verdict == "incomplete, so not tested: it lacks 1 of its runs"
    assert lines["c"].missing == ((4, "lost"),)
    assert lines["b"].difference
    assert lines["b"].difference.p_adjusted == 2 * lines["b"].difference.p
    lines = found({"a": [*BASE[:4], None], "b": far})
    assert lines["b"].verdict == ("incomplete, so not tested: it lacks some of the baseline's runs")
    assert lines["b"].difference
    assert lines["b"].difference.p_adjusted == 1


def test_collapsed_runs_count() -> None:
    line = found({"a": BASE, "b": [*shifted(0, 0, 0, 0, 0)[:4], 10.0]})["b"]
    assert line.below_untrained == 1
    assert line.accuracy
    assert line.accuracy.mean == pytest.approx(np.mean([*BASE[:4], 10.0]))


def test_one_seed_shows_nothing() -> None:
    line = found({"a": [40.0], "b": [60.0]})["b"]
    assert line.verdict.startswith("no difference shown")
    assert line.accuracy == statistics.Estimate(60.0, None, None, 1)


def test_what_test_examples_of_the_same_kind_may_undo_is_said() -> None:
    # Higher in every seed, but by three examples of a thousand.
    close = {"a": [40.0] * 6, "b": [40.3, 40.2, 40.3, 40.3, 40.2, 40.3]}
    line = found(close, examples=1000)["b"]
    assert line.difference
    assert line.difference.examples
    assert line.difference.examples[0] == 0
    assert line.verdict == (
        "higher, but by less than 1 point; on these test examples: others may not show it"
    )
    assert found(close)["b"].verdict == "higher, but by less than 1 point"
    equal = {"a": BASE, "b": shifted(0.1, -0.1, 0.2, 0.0, -0.1)}
    assert found(equal)["b"].verdict == "equivalent within ±1 point"
    # Of 50 examples, one more or less is 2 points.
    assert found(equal, examples=50)["b"].verdict == (
        "equivalent within ±1 point; on these test examples: others may not show it"
    )


def test_costs_are_means_over_seeds_and_reaching_needs_every_seed() -> None:
    lines = found({"a": [40.0, 44.0], "b": [41.0, 50.0], "c": [43.0, 42.0]})
    a, b, c = (lines[name].cost for name in "abc")
    assert a
    assert b
    assert c
    assert (a.bytes_up, a.bytes_down, a.bytes_up_per_client) == (30, 60, 6)
    assert a.client_seconds == 4
    assert {cost.reach for cost in (a, b, c)} == {42.0}
    assert (b.reached, b.rounds_to_reach, b.bytes_to_reach) == (1, None, None)
    assert (c.reached, c.rounds_to_reach, c.bytes_to_reach) == (2, 3, 90)
    lower = found({"a": [40.0, 44.0]}, reach=33.0, family=())["a"].cost
    assert lower
    assert (lower.rounds_to_reach, lower.bytes_to_reach) == (1, 30)
