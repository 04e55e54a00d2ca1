"""What of a federation its status tells, and its file."""

import os
from pathlib import Path

import pytest

from fedssl.base.config_file import ConfigError
from fedssl.base.files import lock_file
from simulations.deployment.status import (
    StatusBoard,
    parse_status,
    read_run,
    read_status,
)
from simulations.progress.watcher import WatcherGroup
from tests.tools.command import wide_fedssl
from tests.tools.federation_events import ROW, happen


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
    result = wide_fedssl("status", run)
    assert result.exit_code == 2
    assert "is no status of a federation" in result.stderr.replace("\n", " ")


def test_several_are_told_the_same(tmp_path: Path) -> None:
    boards = [StatusBoard(tmp_path / name, 3) for name in "ab"]
    happen(WatcherGroup(boards))
    one, other = (board.status() for board in boards)
    assert one.clients.keys() == other.clients.keys() == {0, 2, 5}
