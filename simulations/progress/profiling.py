"""A profile of a run: how the time of each round divides into parts, in the folder ``profile/``.

At any time a thread is in one part, that of the innermost span that names one:

========  =====================================================================================
views     clients: draw the augmented views
step      clients: forward, backward, the optimiser's step and what the objective does after it
merge     server: the strategy takes in a reply, or makes the merged model
probe     server: the central evaluation
save      server: metrics, divergence and checkpoint are written
engine    all else: a client takes up the model, copies it, computes δ and answers; the server
          draws the cohort, makes messages and keeps the display
wait      server: no reply is ready, and nothing else to do; under the engine `ray` also: a thread
          has its client run in another process, where what it does is not recorded
========  =====================================================================================

In a row of ``profile.csv`` their sum is ``seconds`` (the wall time of the round, which is the
server's thread) + ``clients`` (all local updates, summed over threads). All of it is wall time: a
thread that waits for a core or for Python's lock does so in the part that it is in. The probe
counts as the server's wall time, although on a CPU it uses all cores.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.table import Table

from fedssl.base.files import make_folder
from fedssl.base.tracing import Span, Timeline, record_spans
from simulations.record.files import replace_text

PARTS = ("views", "step", "merge", "probe", "save", "engine", "wait")
TOTALS = {"round": "seconds", "client": "clients"}
"""Maps the outermost span of a thread to the column of its time."""
COLUMNS = ("round", *TOTALS.values(), *PARTS)
FEW = 20
"""The most rounds that are printed one by one."""

Rows = Sequence[Mapping[str, float]]
"""One row for each round, with a value for each of `COLUMNS`."""


@contextmanager
def record_profile(
    run_folder: Path, device: torch.device, show: Callable[[Rows], None]
) -> Iterator[None]:
    """Return a context that records a profile, and writes ``profile.csv`` and ``trace.json``.

    They are written to ``profile/`` and shown even where an error ends the context; a round that
    was stopped then has the time until its stop. Where no round was begun, nothing is written.

    Parameters
    ----------
    run_folder : Path
        The run's folder; a profile in it is replaced.
    device : torch.device
        The device on which the run trains.
    show : Callable[[Rows], None]
        Called with the rows.
    """
    with record_spans(device) as timeline:
        try:
            yield
        finally:
            if rows := rounds(timeline.spans):
                folder = run_folder / "profile"
                make_folder(folder)
                replace_text(folder / "profile.csv", _as_csv(rows))
                replace_text(folder / "trace.json", _as_trace(timeline))
                show(rows)


def rounds(spans: Iterable[Span]) -> Rows:
    """Return the rows of a recording in the order of the rounds, in seconds.

    Parameters
    ----------
    spans : Iterable[Span]
        Those on the server's thread lie in a ``round``, those on others in a ``client``; both tell
        the round among their arguments. What lies outside of them is left out.
    """
    sums: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COLUMNS[1:], 0))
    around: dict[int, list[tuple[Span, int, str]]] = defaultdict(list)
    # Of spans that begin together the outermost comes first: it ends last, and is noted last.
    for _, span in sorted(enumerate(spans), key=lambda s: (s[1].begin, -s[1].end, -s[0])):
        outer = around[span.thread]
        while outer and outer[-1][0].end <= span.begin:
            outer.pop()
        duration = span.end - span.begin
        if outer:
            _, number, part = outer[-1]
            sums[number][part] -= duration
        elif span.name in TOTALS:
            number, part = span.args["round"], "engine"
            sums[number][TOTALS[span.name]] += duration
        else:
            continue
        part = span.name if span.name in PARTS else part
        sums[number][part] += duration
        outer.append((span, number, part))
    return [
        {"round": number, **{column: time / 1e9 for column, time in sums[number].items()}}
        for number in sorted(sums)
    ]


def table(rows: Rows) -> Table:
    """Return a table of the rounds, if they are few, the total, and each part's share of the work.

    The work is all parts but ``wait``.
    """
    shown = Table(
        *COLUMNS,
        box=None,
        title="Where the time went, in seconds",
        caption="views to wait add up to seconds (the server) + clients (threads summed)",
    )
    for column in shown.columns:
        column.justify = "right"
    total = {column: sum(row[column] for row in rows) for column in COLUMNS[1:]}
    for row in rows if len(rows) <= FEW else ():
        shown.add_row(str(row["round"]), *(f"{row[column]:.3f}" for column in COLUMNS[1:]))
    shown.add_section()
    shown.add_row("total", *(f"{value:.3f}" for value in total.values()), style="bold")
    work = sum(total[part] for part in PARTS) - total["wait"]
    shares = ("" if part == "wait" else f"{total[part] / work:.1%}" for part in PARTS)
    shown.add_row("share", "", "", *shares)
    return shown


def _as_csv(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([row["round"], *(f"{row[column]:.6f}" for column in COLUMNS[1:])])
    return text.getvalue()


def _as_trace(timeline: Timeline) -> str:
    """Return the spans in Chrome's trace event format, an event a line; times in microseconds."""
    zero = min(span.begin for span in timeline.spans)
    events: list[dict[str, object]] = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "fedssl run"}}
    ]
    threads = sorted(timeline.threads, key=lambda thread: timeline.threads[thread])
    numbers = {thread: number for number, thread in enumerate(threads, start=1)}
    for thread, number in numbers.items():
        named = {"name": "thread_name", "args": {"name": timeline.threads[thread]}}
        events.append({"ph": "M", "pid": 1, "tid": number, **named})
    for span in timeline.spans:
        begin, duration = (span.begin - zero) / 1000, (span.end - span.begin) / 1000
        place = {"pid": 1, "tid": numbers[span.thread], "ts": begin, "dur": duration}
        events.append({"ph": "X", "name": span.name, **place, "args": dict(span.args)})
    return '{"traceEvents": [\n' + ",\n".join(map(json.dumps, events)) + "\n]}\n"
