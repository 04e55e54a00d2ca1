"""The log of what happened in a federation."""

import json
from pathlib import Path

from simulations.deployment.audit_log import AuditLog
from tests.tools.federation_events import happen


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
