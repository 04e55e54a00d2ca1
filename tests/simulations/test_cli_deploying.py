import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from simulations.cli import app

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


def fedssl(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.create_server(("", 0)) as taken:
        yield taken.getsockname()[1]


def test_certs_says_what_it_wrote(here: Path) -> None:
    result = fedssl("certs", "--clients", "2", "--host", "server.example.org", "--out", "pki")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"wrote pki/{name}"
        for name in ("ca.crt", "ca.key", "server.crt", "server.key", "client-0", "client-1")
    ]
    assert stat.S_IMODE((here / "pki" / "client-1" / "client.key").stat().st_mode) == 0o600


def test_serve_refuses_before_anything_is_written(here: Path, busy: int) -> None:
    assert fedssl("certs", "--clients", "4").exit_code == 0
    for arguments, message in (
        (["--pki", "nowhere"], "nowhere/ca.crt: there is no such file; make the keys by"),
        (["--port", str(busy)], f"--port = {busy}: another program listens there"),
        # How many clients there are, the keys say.
        (["partition={name: iid}", "--port", str(busy)], f"--port = {busy}: another program"),
        (["partition.clients=3", "--port", str(busy)], f"--port = {busy}: another program"),
        (["--port", "9999", "--metrics", str(busy)], f":{busy}: cannot listen there"),
        (["--metrics", "here"], "--metrics = here: give PORT, or HOST:PORT"),
        (["--port", "9999", "--health", str(busy)], f"--health = {busy}: another program"),
        (["data.train=3"], "data.train"),
    ):
        result = fedssl("serve", SMOKE, *arguments)
        assert result.exit_code == 2, result.output
        assert message in result.stderr.replace("\n", " ")
        assert list(here.glob("runs/*")) == []


def test_join_refuses_before_it_connects(here: Path) -> None:
    assert fedssl("certs", "--clients", "1").exit_code == 0
    (here / "empty").mkdir()
    (here / "images.npz").write_bytes(b"nothing")
    usual = {"--server": "localhost:1", "--pki": "pki/client-0", "--images": "empty"}
    for changes, message in (
        ({"--server": "localhost"}, "--server = localhost: give HOST:PORT"),
        ({"--pki": "pki"}, "pki/client.key: there is no such file; --pki is a client's own"),
        ({}, "--images = empty: no image files in it"),
        ({"--images": "images.npz"}, "--images = images.npz: not an .npz file"),
        ({"--device": "tpu"}, "--device = tpu: choose auto, cpu or cuda"),
        ({"--trusted-entities": "none.yaml"}, "--trusted-entities = none.yaml: there is no"),
    ):
        options = [part for option in (usual | changes).items() for part in option]
        result = fedssl("join", *options)
        assert result.exit_code == 2, result.output
        assert message in result.stderr.replace("\n", " ")
    assert not (here / "fedssl-state").exists()
