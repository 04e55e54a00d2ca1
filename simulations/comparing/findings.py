"""The statistics of the results: estimates, tests, and a verdict in plain words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from simulations.comparing import statistics
from simulations.comparing.costs import Cost, cost
from simulations.comparing.plan import Plan, Values
from simulations.comparing.results import Result, Results
from simulations.comparing.statistics import Estimate


@dataclass(frozen=True)
class Difference:
    """A strategy minus the baseline, in points, paired by seed."""

    estimate: Estimate
    by_seed: tuple[float, ...]
    examples: tuple[float, float] | None
    """The interval when the test examples are resampled; None without labels."""
    p: float
    """The p value of the paired t test, not adjusted."""
    p_sign_flip: float | None
    """The p value of the exact sign-flip test; None with fewer than 8 seeds."""
    p_equivalent: float
    """The p value of two one-sided t tests that the mean is within ±1 point, not adjusted."""
    p_adjusted: float | None = None
    """``p`` adjusted by Holm's procedure within the family; None if exploratory."""
    p_equivalent_adjusted: float | None = None
    """``p_equivalent`` adjusted likewise."""


@dataclass(frozen=True)
class Finding:
    """A line of the table: a strategy in a cell of the grid."""

    strategy: str
    values: Values
    """The values of the varied fields."""
    seeds: tuple[int, ...]
    """The seeds with a finished run."""
    missing: tuple[tuple[int, str], ...]
    """The other seeds, and why each has no finished run."""
    by_seed: tuple[float, ...]
    """The final accuracies in per cent."""
    accuracy: Estimate | None
    """The mean accuracy; None without a finished run."""
    below_untrained: int
    """The number of runs that ended below their untrained encoder; they count like the others."""
    is_baseline: bool
    in_family: bool
    """Whether its comparison with the baseline was declared before the first run."""
    difference: Difference | None
    """The difference to the baseline; None for the baseline, and without a finished pair."""
    cost: Cost | None
    verdict: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every seed has a pair, so that the comparison may be tested."""
        planned = len(self.seeds) + len(self.missing)
        return self.difference is not None and self.difference.estimate.seeds == planned


def findings(results: Results) -> list[Finding]:
    """Return the table of a comparison, cell by cell."""
    plan = results.plan
    lines = [_finding(results, label, cell) for cell in plan.cells for label in results.labels]
    return [replace(line, verdict=_verdict(line, plan)) for line in _adjusted(lines)]


def _finding(results: Results, label: str, cell: Values) -> Finding:
    plan = results.plan
    every = [results.of(label, cell, seed) for seed in plan.seeds]
    done = [result for result in every if result.done]
    base = {seed: results.of(plan.baseline, cell, seed) for seed in plan.seeds}
    pairs = [(result, base[result.seed]) for result in done if base[result.seed].done]
    is_baseline, sign = label == plan.baseline, plan.metric.sign
    accuracies = tuple(result.accuracy for result in done)
    return Finding(
        strategy=label,
        values=cell,
        seeds=tuple(result.seed for result in done),
        missing=tuple((result.seed, result.error) for result in every if result.error is not None),
        by_seed=accuracies,
        accuracy=statistics.estimate(accuracies) if done else None,
        below_untrained=sum(sign * result.accuracy < sign * result.begins for result in done),
        is_baseline=is_baseline,
        in_family=label in plan.family,
        difference=_difference(pairs) if pairs and not is_baseline else None,
        cost=cost(done, _reach(plan, list(base.values()))) if done else None,
    )


def _reach(plan: Plan, base: Sequence[Result]) -> float:
    """Return the accuracy whose cost is reported: the plan's, or the baseline's final one."""
    if plan.reach is not None:
        return plan.reach
    done = [result.accuracy for result in base if result.done]
    return fmean(done) if done else 100.0


def _difference(pairs: Sequence[tuple[Result, Result]]) -> Difference:
    by_seed = tuple(one.accuracy - other.accuracy for one, other in pairs)
    examples = [
        one.right - other.right
        for one, other in pairs
        if one.right is not None and other.right is not None
    ]
    return Difference(
        estimate=statistics.estimate(by_seed),
        by_seed=by_seed,
        examples=statistics.over_test_examples(np.mean(examples, axis=0))
        if len(examples) == len(pairs)
        else None,
        p=statistics.paired_t(by_seed),
        p_sign_flip=statistics.sign_flip(by_seed),
        p_equivalent=statistics.equivalence(by_seed),
    )


def _adjusted(lines: Sequence[Finding]) -> list[Finding]:
    """Adjust the p values of the family by Holm's procedure.

    A comparison with missing runs stays in the family with p = 1, since dropping it would make the
    others look better.
    """
    family = [line for line in lines if line.in_family]
    tested = [line.difference if line.is_complete else None for line in family]
    different = statistics.holm([each.p if each else 1.0 for each in tested])
    equivalent = statistics.holm([each.p_equivalent if each else 1.0 for each in tested])
    adjusted = {
        id(line): replace(
            line,
            difference=replace(line.difference, p_adjusted=p, p_equivalent_adjusted=p_equivalent),
        )
        for line, p, p_equivalent in zip(family, different, equivalent, strict=True)
        if line.difference
    }
    return [adjusted.get(id(line), line) for line in lines]


def _verdict(line: Finding, plan: Plan) -> str:
    """Return the result of a comparison in words."""
    if line.is_baseline:
        return "baseline"
    difference = line.difference
    if difference is None or not line.is_complete:
        whose = f"{len(line.missing)} of its" if line.missing else "some of the baseline's"
        return f"incomplete, so not tested: it lacks {whose} runs"
    if not any(difference.by_seed):
        return f"the same {plan.metric.short} in every seed"
    if not line.in_family:
        return "exploratory"
    if len(plan.seeds) < 2:
        return "no difference shown: one seed does not show the spread"
    assert difference.p_adjusted is not None
    assert difference.p_equivalent_adjusted is not None
    low, high = difference.examples or (-math.inf, math.inf)
    close = difference.p_equivalent_adjusted < plan.level
    if difference.p_adjusted < plan.level:
        verdict = "higher" if difference.estimate.mean > 0 else "lower"
        verdict += f", but by less than {plan.margin:g} {plan.metric.one}" if close else ""
        doubt = low <= 0 <= high
    elif close:
        verdict = f"equivalent within ±{plan.margin:g} {plan.metric.one}"
        doubt = low < -plan.margin or high > plan.margin
    else:
        return "no difference shown" + (", once adjusted" if difference.p < plan.level else "")
    return verdict + ("; on these test examples: others may not show it" if doubt else "")
