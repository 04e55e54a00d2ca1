from pathlib import Path

import pytest

from clients.keys import fingerprint
from simulations.deployment import error_reporter
from simulations.deployment.error_reporter import ErrorReporter
from simulations.deployment.pki import ServerKeys, make_pki
from simulations.progress.watcher import SilentWatcher

FLOWER = (
    "[/flwr.proto.Fleet/ActivateNode][ApiError:2004] Attempted to register SuperNode with public "
    "key: {key!r}, exception: No SuperNode found with the given public key."
)


class Notes(SilentWatcher):
    def __init__(self) -> None:
        self.whys: list[object] = []

    def on_event(self, event: str, **fields: object) -> None:
        assert event == "refused"
        self.whys.append(fields["why"])


def test_a_refused_key_is_told_once_by_its_fingerprint(tmp_path: Path) -> None:
    keys = ServerKeys(tmp_path / "pki")
    make_pki(keys.folder, 1, [])
    said: list[str] = []
    notes = Notes()
    tell = ErrorReporter(said.append, notes)
    for _ in range(3):
        tell(FLOWER.format(key=keys.public_keys()[0]))
    (line,) = said
    assert line.startswith(f"refused the key {fingerprint(keys.client(0).public_key())}: it is no")
    assert notes.whys == said
    assert len(line) < 300


def test_a_key_that_is_none_is_refused_in_words_too() -> None:
    said: list[str] = []
    ErrorReporter(said.append, SilentWatcher())(
        FLOWER.format(key=b"-----BEGIN PUBLIC KEY-----\nno\n")
    )
    assert said[0].startswith("refused the key that cannot be read: ")


def test_other_errors_are_told_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    tell = ErrorReporter(said.append, SilentWatcher())
    for _ in range(2):
        tell("no port\x1b[2J")
    assert said == ["no port\\x1b[2J"]
    monkeypatch.setattr(error_reporter, "REPEAT_SECONDS", 0.0)
    tell("no port\x1b[2J")
    assert len(said) == 2


def test_no_more_is_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_reporter, "MOST", 10)
    tell = ErrorReporter(lambda _: None, SilentWatcher())
    for number in range(100):
        tell(f"error {number}")
    assert len(tell._last) <= 10
