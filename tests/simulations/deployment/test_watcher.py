"""The audit log, the status and the metrics of a federation."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import Result
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from fedssl.base.config_file import ConfigError
from fedssl.base.files import lock_file
from simulations.cli import app
from simulations.cli import status as watching
from simulations.deployment.audit_log import AuditLog
from simulations.deployment.metrics import Address, Metrics
from simulations.deployment.status import (
    StatusBoard,
    ask_server,
    parse_status,
    read_run,
    read_status,
)
from simulations.progress.display import QuietDisplay
from simulations.progress.terminal import Terminal
from simulations.progress.watcher import WatchedDisplay, Watcher, WatcherGroup
from simulations.record.client_result import ClientResult

ROW = {
    "round": 1,
    "cohort": [0, 2],
    "failed": [2],
    "failed_reasons": {"2": "no answer"},
    "bytes_up": 100,
    "bytes_down": 220,
    "seconds": 3.5,
    "linear_accuracy": 0.25,
}


def happen(watcher: Watcher) -> None:
    """Let a server start, and run a round."""
    watcher.on_event("started", round=0, rounds=3, fedssl="0.1.0")
    watcher.on_event("roster", clients=(0, 2, 5))
    watcher.on_event("joined", client=0, examples=12)
    watcher.on_event("joined", client=2, examples=7)
    watcher.on_connected({0, 2})
    watcher.on_event("refused", client=5, why="ValueError: \x1b[2J no examples")
    watcher.on_event("members", round=1, members={0: 12, 2: 7, 5: 0})
    display = WatchedDisplay(QuietDisplay(), watcher)
    display.on_round_start(1, [0, 2])
    display.on_client_result(ClientResult(0, bytes_up=100, examples=12))
    display.on_client_result(ClientResult(2, error="no answer", lost=True))
    display.on_round_end(ROW)
    watcher.on_event("left", client=2, why="it is not connected any more")
    watcher.on_connected({0})


@pytest.fixture
def board(tmp_path: Path) -> StatusBoard:
    made = StatusBoard(tmp_path / "federation" / "status.json", 3)
    happen(made)
    return made


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_has_a_line_for_each_event(tmp_path: Path) -> None:
    path = tmp_path / "federation" / "audit.jsonl"
    happen(AuditLog(path))
    found = lines(path)
    assert [row["event"] for row in found] == [
        *("started", "joined", "joined", "refused", "members", "sent", "failed", "round", "left"),
    ]
    assert all(str(row["time"]).endswith("+00:00") for row in found)
    assert [str(row["time"]) for row in found] == sorted(str(row["time"]) for row in found)
    by_event = {str(row["event"]): row for row in found}
    assert by_event["refused"]["why"] == "ValueError: \\x1b[2J no examples"
    assert by_event["members"]["members"] == {"0": 12, "2": 7, "5": 0}
    sent = {"round": 1, "client": 0, "bytes": 100, "examples": 12}
    assert sent.items() <= by_event["sent"].items()
    failed = {"round": 1, "client": 2, "why": "no answer", "kind": "lost"}
    assert failed.items() <= by_event["failed"].items()
    assert by_event["round"]["linear_accuracy"] == 0.25


def test_the_log_is_only_added_to_and_a_line_cut_short_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"time": "x", "event": "started"}\n{"time": "y", "ev')
    for _ in range(2):
        AuditLog(path).on_event("started", round=1, rounds=3, fedssl="0.1.0")
    text = path.read_text().splitlines()
    assert text[:2] == ['{"time": "x", "event": "started"}', '{"time": "y", "ev']
    assert [json.loads(line)["event"] for line in text[2:]] == ["started", "started"]


def test_the_status_is_what_happened(board: StatusBoard) -> None:
    status = board.status()
    assert (status.round, status.rounds, status.phase) == (1, 3, "between rounds")
    assert sorted(status.members) == [0, 2, 5]
    first, lost, refused = (status.clients[number] for number in (0, 2, 5))
    assert (first.here, first.examples, first.rounds, first.failure) == (True, 12, 1, None)
    assert (lost.here, lost.examples, lost.rounds) == (False, 7, 0)
    assert lost.last_seen is not None
    assert lost.failure is not None
    assert (lost.failure.round, lost.failure.why) == (1, "no answer")
    assert refused.last_seen is None
    assert refused.failure is not None
    assert (refused.failure.round, refused.failure.why) == (
        None,
        "ValueError: \\x1b[2J no examples",
    )
    assert (status.bytes_up, status.bytes_down, status.linear_accuracy) == (100, 220, 0.25)
    assert status.failures == {"lost": 1}


def test_who_is_no_member_any_more_is_said_to_be_none(board: StatusBoard) -> None:
    board.on_event("roster", clients=(2, 5, 7))
    status = board.status()
    assert sorted(status.members) == [2, 5, 7]
    assert (status.clients[0].member, status.clients[0].here) == (False, False)


def test_a_run_that_goes_on_counts_its_finished_rounds(tmp_path: Path) -> None:
    board = StatusBoard(tmp_path / "status.json", 3, [ROW, {**ROW, "round": 2, "failed": []}])
    status = board.status()
    assert (status.round, status.bytes_up) == (2, 200)
    assert (status.clients[0].rounds, status.clients[2].rounds) == (2, 1)


def test_who_was_seen_when_outlives_the_server(board: StatusBoard, tmp_path: Path) -> None:
    board.write()
    path = tmp_path / "federation" / "status.json"
    after = StatusBoard(path, 3, [ROW]).status().clients
    for number, client in board.status().clients.items():
        assert after[number].last_seen == client.last_seen
        assert after[number].failure == client.failure
        assert after[number].rounds == client.rounds
        assert not after[number].here
    # Not those of another run that was begun here, nor of a file that is damaged.
    assert StatusBoard(path, 3).status().clients == {}
    path.write_text("{")
    assert StatusBoard(path, 3, [ROW]).status().clients[0].last_seen is None


def test_the_file_says_the_same_and_is_written_only_where_something_changed(
    board: StatusBoard, tmp_path: Path
) -> None:
    path = tmp_path / "federation" / "status.json"
    board.write()
    found = read_status(path)
    assert found.clients == board.status().clients
    before = path.stat()
    board.write()
    assert os.path.samestat(before, path.stat())
    board.on_event("begun", round=2, clients=[0])
    board.write()
    assert read_status(path).phase == "round"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


def test_a_run_that_goes_on_was_killed_or_has_ended_is_told_apart(
    board: StatusBoard, run: Path
) -> None:
    board.write()
    handle = lock_file(run / ".lock")
    assert handle is not None
    found, how = read_run(run)
    assert found.clients[0].here
    assert how.startswith("after round 1 of 3 since ")
    assert how.endswith("; 1 of 3 clients are here")
    os.close(handle)
    found, how = read_run(run)
    assert not found.clients[0].here
    assert how.startswith("not running: it was killed after ")
    board.on_event("ended", how="finished")
    board.write()
    found, how = read_run(run)
    assert not found.clients[0].here
    assert how.startswith("not running: finished at ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{" * 100_000,
        '{"version": 2}',
        '{"clients": {"-1": {}}}',
        '{"clients": {"99999999999": {}}}',
        '{"clients": {"' + "1" * 5000 + '": {}}}',
        '{"clients": {"0": {"examples": -1}}}',
        '{"clients": {"0": {"last_seen": "' + "x" * 100 + '"}}}',
        '{"round": "1"}',
        '{"linear_accuracy": 7}',
        '{"failures": {"other": 1}}',
        '{"ended": "' + "x" * 2000 + '"}',
    ],
)
def test_what_is_no_status_is_refused(run: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="it: is no status of a federation"):
        parse_status(text, "it")
    (run / "federation").mkdir()
    (run / "federation" / "status.json").write_text(text)
    result = fedssl("status", run)
    assert result.exit_code == 2
    assert "is no status of a federation" in result.stderr.replace("\n", " ")


def fedssl(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "120"})


def test_the_command_prints_a_line_for_each_client(
    board: StatusBoard, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "out", Terminal(width=160))
    board.on_event("refused", client=5, why="[red]\x1b[2Jno\u202e examples")
    board.write()
    result = fedssl("status", run)
    assert result.exit_code == 0, result.output
    head, columns, *rows = result.output.splitlines()
    assert head.startswith("not running: it was killed after ")
    assert columns.split() == ["client", "member", "here", "last", "seen", *columns.split()[5:]]
    assert [row.split()[:3] for row in rows] == [
        ["0", "yes", "no"],
        ["2", "yes", "no"],
        ["5", "yes", "no"],
    ]
    assert "round 1: no answer" in rows[1]
    assert "never" in rows[2]
    assert "[red]\\x1b[2Jno\\u202e examples" in rows[2]


def test_the_command_says_what_is_missing(run: Path) -> None:
    for arguments, message in (
        ([], "give the run's folder, or --server HOST:PORT"),
        ([run, "--server", "localhost:1"], "give the run's folder, or --server HOST:PORT"),
        ([run], "status.json: there is no such file; give the folder of a run that fedssl serve"),
        (["--server", "localhost"], "--server = localhost: give HOST:PORT"),
        (["--server", "localhost:1"], "--server = localhost:1: does not answer"),
    ):
        result = fedssl("status", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr.replace("\n", " ")


@pytest.fixture
def address(board: StatusBoard) -> Iterator[str]:
    with Metrics(Address("127.0.0.1", 0)) as metrics:
        metrics.serve(board)
        yield f"127.0.0.1:{metrics.port}"


def read(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def test_metrics_are_the_status(address: str, board: StatusBoard) -> None:
    families = text_string_to_metric_families(read(f"http://{address}/metrics"))
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    for number in (0, 2):
        seen = datetime.fromisoformat(board.status().clients[number].last_seen or "")
        name = ("fedssl_client_last_seen_seconds", str(number))
        assert samples.pop(name) == pytest.approx(seen.timestamp(), abs=1e-3)
    assert samples == {
        ("fedssl_round",): 1,
        ("fedssl_rounds",): 3,
        ("fedssl_members",): 3,
        ("fedssl_connected",): 1,
        ("fedssl_round_seconds",): 3.5,
        ("fedssl_linear_accuracy",): 0.25,
        ("fedssl_bytes_up_total",): 100,
        ("fedssl_bytes_down_total",): 220,
        ("fedssl_failed_replies_total", "refused"): 0,
        ("fedssl_failed_replies_total", "lost"): 1,
        ("fedssl_failed_replies_total", "error"): 0,
    }


def test_a_server_is_asked_for_its_status(address: str, board: StatusBoard) -> None:
    found, how = ask_server(address)
    assert found.clients == board.status().clients
    assert how.startswith("after round 1 of 3 since ")
    result = fedssl("status", "--server", address)
    assert result.exit_code == 0, result.output
    assert "1 of 3 clients are here" in result.output


def test_other_pages_are_not_there(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        read(f"http://{address}/etc/passwd")


def test_a_port_that_is_taken_is_named(address: str) -> None:
    with pytest.raises(ConfigError, match=rf"--metrics = {address}: cannot listen there"):
        Metrics(Address.parse(address))


def test_an_address_is_a_port_of_the_loopback_device_or_names_its_host() -> None:
    assert Address.parse("9100") == Address("127.0.0.1", 9100)
    assert Address.parse("0.0.0.0:9100") == Address("0.0.0.0", 9100)
    assert Address.parse("[::1]:9100") == Address("::1", 9100)
    for text in ("", "0", "65536", "a", "host:", "a b:1", "1:2:3", "9" * 99):
        with pytest.raises(ConfigError, match=r"--metrics = .*: give PORT, or HOST:PORT"):
            Address.parse(text)


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedssl\[metrics\]'"):
        Metrics(Address("127.0.0.1", 0))


def test_several_are_told_the_same(tmp_path: Path) -> None:
    boards = [StatusBoard(tmp_path / name, 3) for name in "ab"]
    happen(WatcherGroup(boards))
    one, other = (board.status() for board in boards)
    assert one.clients.keys() == other.clients.keys() == {0, 2, 5}
