"""Label-free selection: which round or run would RankMe or LiDAR pick, and was it the right one?"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar, Literal

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.metrics import MetricDescription
from fedssl.evaluation.subject import MeasureResult, Subject

CRITERIA = ("rankme", "lidar")
"""Metrics that need no labels; the higher, the better."""
TRUTH = "linear_accuracy"
"""The metric that needs labels."""


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Kendall's τ-b of two lists of n ≥ 2 numbers: 1 where they order alike, −1 reversed.

    τ = (C − D) / √((P − T₁)(P − T₂)) over the P pairs, of which C are ordered alike, D the other
    way round, and T tied in one list. NaN where one list is constant.
    """
    signs = [
        ((a > b) - (a < b), (c > d) - (c < d))
        for (a, c), (b, d) in combinations(zip(first, second, strict=True), 2)
    ]
    both = sum(x * y for x, y in signs)
    scale = sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs)
    return both / scale**0.5 if scale else float("nan")


def pick(
    candidates: Sequence[Mapping[str, Any]], criterion: str, truth: str = TRUTH
) -> dict[str, float]:
    """Pick the candidate that a criterion likes best, and look up what the labels say of it.

    Parameters
    ----------
    candidates : Sequence[Mapping]
        Each with the criterion and the truth; at least one. The first of equals is picked.
    criterion, truth : str
        Which of their entries to go by.

    Returns
    -------
    dict[str, float]
        ``picked`` and ``best``: places in ``candidates``; ``accuracy``: the truth of the one that
        was picked; ``regret``: by how much the best's truth is higher; ``kendall``: see there, NaN
        where there is but one.
    """
    scores = [float(candidate[criterion]) for candidate in candidates]
    truths = [float(candidate[truth]) for candidate in candidates]
    picked, best = scores.index(max(scores)), truths.index(max(truths))
    return {
        "picked": picked,
        "best": best,
        "accuracy": truths[picked],
        "regret": truths[best] - truths[picked],
        "kendall": kendall(scores, truths),
    }


class Selection(Measure):
    """Which round, or run of --against, RankMe or LiDAR would pick."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: label-free selection."""

        name: Literal["selection"] = "selection"
        """The name of this measure."""

    labels = False
    of_a_round = False
    reports: ClassVar = {
        **{
            f"{name}_picks_accuracy": MetricDescription(unit="share", better="higher")
            for name in CRITERIA
        },
        **{f"{name}_regret": MetricDescription(unit="share", better="lower") for name in CRITERIA},
        **{f"{name}_kendall": MetricDescription(better="higher") for name in CRITERIA},
    }

    def measure(self, subject: Subject) -> MeasureResult:
        """Pick among this run's rounds or, where others are given, among the runs' last rounds.

        RankMe is in every evaluated round; LiDAR where ``evaluation.measures`` names it. The
        untrained encoder, round 0, is a candidate like any other. Choosing by the labels of the
        test examples would be cheating; here they only judge.

        Source: Garrido et al., "RankMe", ICML 2023, section 4, which picks hyperparameters of one
        method so; across methods neither criterion says anything.

        Raises
        ------
        ValueError
            Fewer than two rounds or runs have a criterion and an accuracy.
        """
        if subject.others:
            runs = {"this run": subject, **subject.others}
            rows = [{**_last(run.rounds), "name": name} for name, run in runs.items()]
        else:
            rows = [{**row, "name": f"round {row['round']}"} for row in subject.rounds]
        figures: dict[str, float] = {}
        details: dict[str, Any] = {}
        for criterion in CRITERIA:
            scored = [r for r in rows if r.get(criterion) is not None and r.get(TRUTH) is not None]
            if len(scored) < 2:
                continue
            picked_row = pick(scored, criterion)
            figures |= {
                f"{criterion}_picks_accuracy": picked_row["accuracy"],
                f"{criterion}_regret": picked_row["regret"],
            }
            if not math.isnan(picked_row["kendall"]):
                figures[f"{criterion}_kendall"] = picked_row["kendall"]
            details[criterion] = {
                "names": [row["name"] for row in scored],
                "scores": [row[criterion] for row in scored],
                "accuracies": [row[TRUTH] for row in scored],
                "picked": scored[int(picked_row["picked"])]["name"],
                "best": scored[int(picked_row["best"])]["name"],
            }
        if not details:
            raise ValueError(
                "needs at least two evaluated rounds (or runs, by --against) with RankMe or LiDAR "
                "and a linear accuracy"
            )
        return MeasureResult(figures, details)


def _last(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the newest row that was evaluated, or an empty one."""
    return next((row for row in reversed(rows) if row.get(TRUTH) is not None), {})
