from pathlib import Path

import pytest

from simulations.cli import status as watching
from simulations.deployment.status import (
    StatusBoard,
)
from simulations.progress.terminal import Terminal
from tests.tools.command import wide_fedssl
from tests.tools.federation_events import happen


@pytest.fixture
def board(tmp_path: Path) -> StatusBoard:
    made = StatusBoard(tmp_path / "federation" / "status.json", 3)
    happen(made)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


def test_the_command_prints_a_line_for_each_client(
    board: StatusBoard, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "out", Terminal(width=160))
    board.on_event("refused", client=5, why="[red]\x1b[2Jno\u202e examples")
    board.write()
    result = wide_fedssl("status", run)
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
        result = wide_fedssl("status", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr.replace("\n", " ")
