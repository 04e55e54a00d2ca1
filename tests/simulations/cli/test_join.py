import re
import shutil
import socket
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulations.deployment import certificates
from tests.tools.command import fedssl

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"


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
    *wrote, validity, known_by = result.output.splitlines()
    assert wrote == [
        f"wrote pki/{name}"
        for name in ("ca.crt", "ca.key", "server.crt", "server.key", "client-0", "client-1")
    ]
    assert validity.startswith("pki/server.crt is valid until 20")
    assert known_by.startswith("fingerprint of pki/ca.crt: ")
    assert stat.S_IMODE((here / "pki" / "client-1" / "client.key").stat().st_mode) == 0o600


def test_a_device_makes_its_key_and_the_server_answers(here: Path) -> None:
    assert fedssl("certs", "--clients", "1").exit_code == 0
    asked = fedssl("join", "--request", "device")
    assert asked.exit_code == 0, asked.output
    signed = fedssl("certs", "--sign", "device/client.request")
    assert signed.exit_code == 0, signed.output
    assert "bring pki/client-1/client.pub and pki/client-1/ca.crt to the device" in signed.output
    (own,) = re.findall(r"fingerprint of this key: (\S+)", asked.output)
    assert own in signed.output
    assert not (here / "pki" / "client-1" / "client.key").exists()
    again = fedssl("certs", "--sign", "device/client.request")
    assert again.exit_code == 2
    assert "its key is client 1's already" in again.stderr


def test_certs_lists_and_revokes(here: Path) -> None:
    assert fedssl("certs", "--clients", "3").exit_code == 0
    revoked = fedssl("certs", "--revoke", "0", "--revoke", "2")
    assert revoked.exit_code == 0, revoked.output
    assert "client 2 is revoked; a running fedssl serve notices" in revoked.output
    assert not (here / "pki" / "client-2" / "client.pub").exists()
    (here / "pki" / "client-1" / "client.pub").unlink()
    listed = fedssl("certs", "--list").output.splitlines()
    assert [line.split()[0] for line in listed] == ["number", "0", "1", "2"]
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    assert [line.endswith(f"{today}  {today}") for line in listed[1:]] == [True, False, True]
    assert listed[2].endswith("no, but its client.pub is not here")


def test_certs_has_no_clients_where_there_are_no_keys(here: Path) -> None:
    for arguments in (["--list"], ["--revoke", "0"]):
        result = fedssl("certs", *arguments, "--out", "nowhere")
        assert result.exit_code == 2
        assert "--out = nowhere: there is no such folder" in result.stderr
    assert not (here / "nowhere").exists()


def test_certs_does_one_thing_at_a_time(here: Path) -> None:
    for arguments in (
        ["--clients", "2", "--revoke", "0"],
        ["--sign", "x", "--list"],
        ["--host", "a.org", "--sign", "x"],
    ):
        result = fedssl("certs", *arguments)
        assert result.exit_code == 2
        assert "--sign, --revoke and --list each stand alone" in result.stderr
    assert not (here / "pki").exists()


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


def test_serve_warns_of_a_certificate_that_soon_expires_and_refuses_one_that_has(
    here: Path, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fedssl("certs", "--clients", "4").exit_code == 0
    for days, exit_by in ((20, f"--port = {busy}"), (0, "pki/server.crt: expired on")):
        monkeypatch.setattr(certificates, "SERVER_DAYS", days)
        assert fedssl("certs").exit_code == 0
        result = fedssl("serve", SMOKE, "--port", str(busy))
        assert result.exit_code == 2
        assert exit_by in result.stderr
        warning = "pki/server.crt: expires in 19 days, and then clients refuse this server"
        assert (warning in result.output) == (days == 20)
        assert list(here.glob("runs/*")) == []


def test_join_refuses_before_it_connects(here: Path) -> None:
    assert fedssl("certs", "--clients", "2").exit_code == 0
    shutil.copytree("pki/client-0", "mixed")
    shutil.copy("pki/client-1/client.key", "mixed")
    (here / "empty").mkdir()
    (here / "examples.npz").write_bytes(b"nothing")
    usual = {"--server": "localhost:1", "--pki": "pki/client-0", "--examples": "empty"}
    for changes, message in (
        ({"--server": "localhost"}, "--server = localhost: give HOST:PORT"),
        ({"--pki": "pki"}, "pki/client.key: there is no such file; --pki is a client's own"),
        ({"--pki": "mixed"}, "mixed/client.key: is not the key of client 0"),
        ({}, "--examples = empty: no image files in it"),
        ({"--examples": "examples.npz"}, "--examples = examples.npz: not an .npz file"),
        ({"--device": "tpu"}, "--device = tpu: choose auto, cpu or cuda"),
        ({"--trusted-entities": "none.yaml"}, "--trusted-entities = none.yaml: there is no"),
    ):
        options = [part for option in (usual | changes).items() for part in option]
        result = fedssl("join", *options)
        assert result.exit_code == 2, result.output
        assert message in result.stderr.replace("\n", " ")
    given = fedssl("join", "--server", "localhost:1")
    assert given.exit_code == 2
    assert "give --pki and --examples" in given.stderr
    assert not (here / "fedssl-state").exists()
