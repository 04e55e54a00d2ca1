"""What ends a SuperNode's process: a server that does not know it, or is there no more."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from clients.flower_adapter import supernode
from clients.network import find_free_port

CODE = grpc.StatusCode


class Ended(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def end(why: str) -> None:
        raise Ended(why)

    monkeypatch.setattr(supernode, "_end", end)
    return tmp_path / "spoken"


def answer(listening: Any, code: grpc.StatusCode, details: str = "") -> None:
    call = SimpleNamespace(code=lambda: code, details=lambda: details)
    assert listening.intercept_unary_unary(lambda *_: call, None, None) is call


def test_an_answer_is_noted(spoken: Path) -> None:
    listening = supernode._Listening(spoken)
    answer(listening, CODE.UNAVAILABLE)
    assert not spoken.exists()
    answer(listening, CODE.OK)
    assert spoken.exists()


def test_a_server_that_refuses_or_ends_ends_it(spoken: Path) -> None:
    listening = supernode._Listening(spoken)
    with pytest.raises(Ended, match="refused by the server: Invalid node ID"):
        answer(listening, CODE.UNAUTHENTICATED, "Invalid node ID")
    with pytest.raises(Ended, match="ended the connection"):
        answer(listening, CODE.CANCELLED)


def test_a_server_that_is_away_is_waited_for_but_not_one_that_has_ended(spoken: Path) -> None:
    channel = supernode._channel(spoken, f"127.0.0.1:{find_free_port()}", False, interceptors=[])
    with pytest.raises(grpc.RpcError) as nobody:
        channel.unary_unary("/x")(b"", timeout=20)
    refused = nobody.value.details()
    channel.close()
    listening = supernode._Listening(spoken)
    # It may not have begun yet.
    answer(listening, CODE.UNAVAILABLE, refused)
    answer(listening, CODE.OK)
    answer(listening, CODE.UNAVAILABLE, "Timeout occurred: FD Shutdown")
    with pytest.raises(Ended, match="nothing listens there"):
        answer(listening, CODE.UNAVAILABLE, refused)


def test_its_process_imports_no_pytorch() -> None:
    code = (
        "import sys, clients.child_process, clients.flower_adapter.supernode, flwr.supernode.cli; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
