"""The findings as tables: their columns, the terminal, and the notes to read them by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from fedssl.base.printable import escape_unsafe
from simulations.comparing import statistics
from simulations.comparing.costs import Cost
from simulations.comparing.findings import Difference, Finding
from simulations.comparing.metric import LINEAR, Metric
from simulations.comparing.plan import Plan, Values
from simulations.comparing.statistics import Estimate
from simulations.record.metric_names import size

Show = Callable[[Finding], str]
"""Returns what a line has in a column."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    show: Show
    value: Callable[[Finding], float | None] | None = None
    """What the page sorts it by; None: by what it shows."""

    def order(self, line: Finding) -> str:
        """Return what a line is sorted by, a number where the column has numbers, or nothing."""
        if self.value is None:
            return self.show(line)
        value = self.value(line)
        return "" if value is None else repr(float(value))


def cell_name(values: Values) -> str:
    """Return what a cell of the grid is called."""
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def accuracy(found: Estimate | None) -> str:
    """Return an accuracy in per cent with half of its interval."""
    if found is None:
        return "–"
    return f"{found.mean:.1f}" + ("" if found.half is None else f" ± {found.half:.1f}")


def interval(ends: tuple[float | None, float | None] | None) -> str:
    """Return an interval in points."""
    if ends is None or ends[0] is None:
        return "–"
    assert ends[1] is not None
    return f"{points(ends[0])} to {points(ends[1])}"


def points(difference: float) -> str:
    """Return a difference with its sign; one that rounds to zero is +0.0."""
    return f"{round(difference, 1) + 0.0:+.1f}"


def probability(p: float | None) -> str:
    """Return a p value."""
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def traffic(count: float) -> str:
    """Return a number of bytes; references send nothing."""
    return size(count) if count else "–"


def _difference(
    show: Callable[[Difference], str], value: Callable[[Difference], float | None]
) -> Column:
    return Column(
        lambda line: show(line.difference) if line.difference else "–",
        lambda line: value(line.difference) if line.difference else None,
    )


def _cost(show: Callable[[float], str], value: Callable[[Cost], float | None]) -> Column:
    def number(line: Finding) -> float | None:
        return value(line.cost) if line.cost else None

    def shown(line: Finding) -> str:
        return "–" if (found := number(line)) is None else show(found)

    return Column(shown, number)


def _mean(line: Finding) -> float | None:
    return line.accuracy.mean if line.accuracy else None


ACCURACY_COLUMNS: dict[str, Column] = {
    "strategy": Column(lambda line: line.strategy),
    "accuracy (%)": Column(lambda line: accuracy(line.accuracy), _mean),
    "by seed": Column(
        lambda line: ", ".join(f"{value:.1f}" for value in line.by_seed) or "–", _mean
    ),
    "difference (points)": _difference(
        lambda d: points(d.estimate.mean), lambda d: d.estimate.mean
    ),
    "interval over seeds": _difference(
        lambda d: interval((d.estimate.low, d.estimate.high)), lambda d: d.estimate.low
    ),
    "over test examples": _difference(
        lambda d: interval(d.examples), lambda d: d.examples[0] if d.examples else None
    ),
    "p": _difference(lambda d: probability(d.p), lambda d: d.p),
    "p (Holm)": _difference(lambda d: probability(d.p_adjusted), lambda d: d.p_adjusted),
    "below untrained": Column(
        lambda line: f"{line.below_untrained} of {len(line.seeds)}",
        lambda line: line.below_untrained,
    ),
    "verdict": Column(lambda line: line.verdict),
}
"""The columns of the table of accuracies."""

COST_COLUMNS: dict[str, Column] = {
    "strategy": Column(lambda line: line.strategy),
    "up": _cost(traffic, lambda c: c.bytes_up),
    "down": _cost(traffic, lambda c: c.bytes_down),
    "up a client": _cost(traffic, lambda c: c.bytes_up_per_client),
    "down a client": _cost(traffic, lambda c: c.bytes_down_per_client),
    "clients (s)": _cost(lambda seconds: f"{seconds:,.1f}", lambda c: c.client_seconds),
    "server (s)": _cost(lambda seconds: f"{seconds:,.2f}", lambda c: c.server_seconds),
    "reaches": _cost(lambda percent: f"{percent:.1f} %", lambda c: c.reach),
    "in seeds": Column(
        lambda line: f"{line.cost.reached} of {len(line.seeds)}" if line.cost else "–",
        lambda line: line.cost.reached if line.cost else None,
    ),
    "after rounds": _cost(lambda rounds: f"{rounds:.1f}", lambda c: c.rounds_to_reach),
    "after": _cost(traffic, lambda c: c.bytes_to_reach),
}
"""The columns of the table of costs."""


def columns_of(metric: Metric) -> tuple[dict[str, Column], dict[str, Column]]:
    """Return the columns of both tables, of accuracies (or another metric) and of costs."""
    heads = {"accuracy (%)": metric.heading, "difference (points)": metric.difference}
    accuracies = {heads.get(name, name): column for name, column in ACCURACY_COLUMNS.items()}
    reaches = _cost(lambda value: f"{value:.1f}{metric.suffix}", lambda c: c.reach)
    return accuracies, COST_COLUMNS | {"reaches": reaches}


_ON_PAGE = ("by seed", "p", "below untrained")
"""Columns that only the page has room for."""


def as_tables(lines: Sequence[Finding], metric: Metric = LINEAR) -> list[Table]:
    """Return both tables for the terminal."""
    tables = []
    titles = metric.short[0].upper() + metric.short[1:], "Cost"
    for title, every in zip(titles, columns_of(metric), strict=True):
        columns = {name: column for name, column in every.items() if name not in _ON_PAGE}
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in columns:
            words = name in ("strategy", "verdict")
            cells = [columns[name].show(line) for line in lines]
            if name == "strategy":
                cells += [cell_name(line.values) for line in lines]
            table.add_column(
                name.removesuffix(f" ({metric.unit})"),
                justify="left" if words else "right",
                min_width=None if name == "verdict" else max(map(len, cells)),
            )
        before = ""
        for line in lines:
            if (cell := cell_name(line.values)) != before:
                table.add_row(Text(escape_unsafe(cell), style="bold"))
                before = cell
            table.add_row(*(column.show(line) for column in columns.values()))
        tables.append(table)
    return tables


def _what(metric: Metric) -> str:
    """Say what is compared, and how far it can be trusted."""
    if metric.labels:
        return "Accuracy: linear probe"
    return "RankMe (how many dimensions the features use; more need not be better for a task)"


def _a(metric: Metric) -> str:
    return "an accuracy" if metric.labels else f"a {metric.name}"


def notes(plan: Plan, lines: Sequence[Finding]) -> list[str]:
    """Return what has to be known to read the tables."""
    seeds, family = len(plan.seeds), sum(line.in_family for line in lines)
    flips = (
        "exact sign-flip tests are in summary.json"
        if seeds >= statistics.SIGN_FLIPS_FROM
        else f"sign flips are not tested below {statistics.SIGN_FLIPS_FROM} seeds"
    )
    collapsed = [
        f"{line.strategy}{f' at {cell_name(line.values)}' if line.values else ''} "
        f"({line.below_untrained} of {len(line.seeds)})"
        for line in lines
        if line.below_untrained
    ]
    told = f"Ended below their untrained encoder: {'; '.join(collapsed)}." if collapsed else ""
    return [
        *([told] if told else []),
        f"{_what(plan.metric)} after the last round, mean over {seeds} seeds ± half of the 95 % "
        "t interval; runs that collapsed count, the best round is never taken.",
        f"Difference: to {plan.baseline}, in {plan.metric.unit}, paired by seed. Interval over "
        f"seeds: paired t, degrees of freedom {max(0, seeds - 1)}; it is for these test examples. "
        "Over test examples: they are drawn anew and the models stay.",
        f"p: paired t test. p (Holm): adjusted over the {family} comparisons that plan.yaml "
        "declares; all others are exploratory and get no verdict.",
        f"With {seeds} seeds the smallest p that sign flips can reach is "
        f"{statistics.smallest_p(seeds):.3g}: {flips}.",
        f"Equivalent: two one-sided t tests refuse a difference of {plan.margin:g} "
        f"{plan.metric.one} either "
        "way, adjusted like p. No difference shown is not the same as equal.",
        "Cost: mean over seeds. The references send no models; what it takes to bring central's "
        "examples together is not counted. Server: the time it merged. Clients: the local updates' "
        f"wall time, which rises where several run at once. Reaching {_a(plan.metric)}: the first "
        "evaluated round that has it, which favours noisy runs.",
    ]
