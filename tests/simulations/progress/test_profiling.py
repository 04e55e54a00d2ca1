import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from rich.console import Console

from fedssl.base.tracing import Span
from simulations import Experiment, RunError, run
from simulations.progress.display import LineDisplay
from simulations.progress.profiling import COLUMNS, FEW, PARTS, Rows, rounds
from strategies import FedAvg
from tests.tools.runs import StopsAfter, same_result

Small = Callable[..., Experiment]
Event = dict[str, Any]


pytestmark = pytest.mark.usefixtures("without_report")


def read_rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "profile" / "profile.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == COLUMNS
        return [{column: float(value) for column, value in row.items()} for row in reader]


def read_spans(folder: Path) -> list[Event]:
    """Read the spans of the trace, each with the span right ``around`` it, from outer to inner."""
    events = json.loads((folder / "profile" / "trace.json").read_text())["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    threads: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin = round(event["ts"] * 1000)
            end = begin + round(event["dur"] * 1000)
            own = {"begin": begin, "end": end, "thread": names[event["tid"]]}
            threads[event["tid"]].append({**event, **own})
    assert threads.keys() == names.keys()
    spans: list[Event] = []
    for found in threads.values():
        outer: list[Event] = []
        for span in sorted(found, key=lambda e: (e["begin"], -e["end"])):
            while outer and outer[-1]["end"] <= span["begin"]:
                outer.pop()
            if outer:
                assert span["end"] <= outer[-1]["end"], (span, outer[-1])
            spans.append({**span, "around": outer[-1] if outer else None})
            outer.append(spans[-1])
    return spans


def of(spans: Sequence[Event], name: str) -> list[Event]:
    return [span for span in spans if span["name"] == name]


def check_sums(rows: Rows) -> None:
    """Hold the rows, which are rounded to microseconds, to what the documentation states."""
    for row in rows:
        total = sum(row[part] for part in PARTS)
        assert total == pytest.approx(row["seconds"] + row["clients"], abs=1e-5)
        assert min(row.values()) >= 0


@pytest.mark.slow
def test_profiling_changes_no_bit_and_without_it_there_is_no_folder(
    small: Small, tmp_path: Path
) -> None:
    run(small(), tmp_path / "plain")
    run(small(), tmp_path / "profiled", profile=True)
    assert same_result(tmp_path / "plain", tmp_path / "profiled")
    assert not (tmp_path / "plain" / "profile").exists()
    names = {path.name for path in (tmp_path / "profiled" / "profile").iterdir()}
    assert names == {"profile.csv", "trace.json"}


@pytest.mark.parametrize("strategy", ["ldawa", "flwr.serverapp.strategy.FedAvg"])
def test_the_table_adds_up_and_agrees_with_the_trace(
    small: Small, tmp_path: Path, strategy: str
) -> None:
    experiment = small(f"strategy={{name: {strategy}}}", "evaluation.every=2")
    metrics = run(experiment, tmp_path / "run", profile=True).metrics
    rows, spans = read_rows(tmp_path / "run"), read_spans(tmp_path / "run")
    check_sums(rows)
    assert [row["round"] for row in rows] == [0, 1, 2, 3]
    for row, metric in zip(rows, metrics, strict=True):
        trained = row["round"] > 0
        for part in ("views", "step", "merge", "clients"):
            assert (row[part] > 0) == trained, part
        assert (row["probe"] > 0) == ("linear_accuracy" in metric)
        assert row["save"] > 0
        assert row["seconds"] >= metric["seconds"] - 1e-3
        for column, name in (("seconds", "round"), ("clients", "client")):
            lasted = [s["dur"] for s in of(spans, name) if s["args"]["round"] == row["round"]]
            assert row[column] == pytest.approx(sum(lasted) / 1e6, abs=1e-5)
    for part in PARTS:
        if part != "engine":
            lasted = [s["dur"] for s in of(spans, part)]
            assert sum(row[part] for row in rows) == pytest.approx(sum(lasted) / 1e6, abs=1e-5)


def test_every_span_lies_where_it_belongs(small: Small, tmp_path: Path) -> None:
    metrics = run(small(), tmp_path / "run", profile=True).metrics
    spans = read_spans(tmp_path / "run")
    parents = {(s["name"], s["around"]["name"] if s["around"] else None) for s in spans}
    on_server = {(part, "round") for part in ("merge", "probe", "save", "wait")}
    on_clients = {("views", "client"), ("step", "client")}
    assert parents == on_server | on_clients | {("round", None), ("client", None)}
    clients = of(spans, "client")
    expected = [(row["round"], client) for row in metrics for client in row["cohort"]]
    assert sorted((s["args"]["round"], s["args"]["client"]) for s in clients) == sorted(expected)
    # Each of 4 clients has 12 examples, and batches have 8: two steps.
    assert len(of(spans, "step")) == len(of(spans, "views")) == 2 * len(expected)
    assert len(of(spans, "wait")) == len(expected)
    # One a reply, and one a round for the result.
    assert len(of(spans, "merge")) == len(expected) + len(metrics) - 1
    assert {s["thread"] for s in clients} <= {"client_0", "client_1"}
    assert {s["thread"] for s in of(spans, "round")} == {"MainThread"}


@pytest.mark.slow
def test_a_stopped_run_has_what_was_and_a_resumed_one_what_is_run_now(
    small: Small, tmp_path: Path
) -> None:
    run(small(), tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(small(), tmp_path / "run", profile=True, display=StopsAfter(1))
    rows, spans = read_rows(tmp_path / "run"), read_spans(tmp_path / "run")
    check_sums(rows)
    assert [row["round"] for row in rows] == [0, 1, 2]
    assert rows[2]["wait"] > 0
    assert rows[2]["save"] == 0
    assert len(of(spans, "round")) == 3
    run(small(), tmp_path / "run", profile=True, resume=True)
    rows = read_rows(tmp_path / "run")
    check_sums(rows)
    assert [row["round"] for row in rows] == [2, 3]
    assert same_result(tmp_path / "straight", tmp_path / "run")
    run(small(), tmp_path / "run", profile=True, resume=True)
    assert read_rows(tmp_path / "run") == rows


class GivesUp(FedAvg):
    """Refuses the first reply."""

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        for _ in replies:
            raise ValueError("no")


@pytest.mark.parametrize(
    "overrides",
    [("client.lr=1e30", "objective.name=simclr"), (f"strategy={{name: {__name__}.GivesUp}}",)],
)
def test_a_failed_run_has_what_was(
    small: Small, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    with pytest.raises(RunError):
        run(small(*overrides), tmp_path / "run", profile=True)
    rows = read_rows(tmp_path / "run")
    check_sums(rows)
    assert [row["round"] for row in rows] == [0, 1]
    assert rows[1]["step"] > 0
    merges = of(read_spans(tmp_path / "run"), "merge")
    assert merges
    assert {span["around"]["name"] for span in merges} == {"round"}


def test_the_innermost_part_has_the_time() -> None:
    second = 10**9
    spans = [
        # Noted as they end: the inner ones first, also where all begin and end together.
        Span("outside", 1, 0, second, {}),
        Span("views", 2, 3 * second, 4 * second, {}),
        Span("augment", 2, 5 * second, 6 * second, {}),
        Span("step", 2, 4 * second, 8 * second, {}),
        Span("client", 2, 3 * second, 9 * second, {"client": 0, "round": 7}),
        Span("wait", 1, 2 * second, 9 * second, {}),
        Span("copy", 1, 9 * second, 10 * second, {}),
        Span("probe", 1, 10 * second, 12 * second, {}),
        Span("round", 1, 2 * second, 12 * second, {"round": 7}),
        Span("save", 1, 12 * second, 13 * second, {}),
        Span("round", 1, 12 * second, 13 * second, {"round": 8}),
    ]
    seven, eight = rounds(spans)
    expected = {"seconds": 10, "clients": 6, "views": 1, "step": 4, "probe": 2, "wait": 7}
    nothing = dict.fromkeys(COLUMNS, 0)
    assert seven == {**nothing, "round": 7, **expected, "engine": 2}
    assert eight == {**nothing, "round": 8, "seconds": 1, "save": 1}


@pytest.mark.parametrize("count", [1, FEW, FEW + 1])
def test_the_table_shows_few_rounds_one_by_one_and_the_shares_of_the_work(count: int) -> None:
    row = {**dict.fromkeys(COLUMNS, 0.0), "seconds": 3.0, "clients": 5.0}
    row |= {"step": 3.0, "views": 1.0, "wait": 4.0}
    console = Console(width=100)
    with console.capture() as capture:
        LineDisplay(console).on_profile([{**row, "round": number} for number in range(count)])
    lines = [line.split() for line in capture.get().splitlines()]
    shown = [line[0] for line in lines if line and line[0].isdigit()]
    assert shown == ([str(n) for n in range(count)] if count <= FEW else [])
    total, share = (next(x[1:] for x in lines if x and x[0] == n) for n in ("total", "share"))
    assert total[:4] == [f"{value * count:.3f}" for value in (3, 5, 1, 3)]
    assert share == ["25.0%", "75.0%", "0.0%", "0.0%", "0.0%", "0.0%"]
