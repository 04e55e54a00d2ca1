import os
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from clients.network import Unreachable, find_free_port, reach, spare_loopback, split_address
from simulations.deployment.pki import ServerKeys, make_pki


@pytest.fixture
def keys(tmp_path: Path) -> ServerKeys:
    keys = ServerKeys(tmp_path / "pki")
    make_pki(keys.folder, 1, ["server.example.org"])
    return keys


@pytest.fixture
def port(keys: ServerKeys) -> Iterator[int]:
    """Shake hands with whoever comes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate, keys.key)
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                with plain:
                    try:
                        context.wrap_socket(plain, server_side=True).close()
                    except OSError:
                        continue

        thread = threading.Thread(target=accept)
        thread.start()
        yield listening.getsockname()[1]
        # Closing alone does not wake the thread.
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_the_right_certificate_is_taken(keys: ServerKeys, port: int) -> None:
    reach(f"localhost:{port}", keys.authority)
    reach(f"127.0.0.1:{port}", keys.client(0).root_certificate)


def sign_for(keys: ServerKeys, begin: timedelta, end: timedelta) -> None:
    """Give the server a certificate that is valid from and until so long from now."""
    old = x509.load_pem_x509_certificate(keys.certificate.read_bytes())
    authority = load_pem_private_key(keys.authority_key.read_bytes(), None)
    assert isinstance(authority, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
    )
    for extension in old.extensions:
        made = made.add_extension(extension.value, extension.critical)
    signed = made.sign(authority, hashes.SHA256())
    keys.certificate.write_bytes(signed.public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    ("begin", "end", "said"), [(-2, -1, "certificate has expired"), (1, 2, "not yet valid")]
)
def test_a_certificate_that_is_not_valid_now_may_be_later(
    keys: ServerKeys, request: pytest.FixtureRequest, begin: int, end: int, said: str
) -> None:
    sign_for(keys, timedelta(days=begin), timedelta(days=end))
    port = request.getfixturevalue("port")
    with pytest.raises(Unreachable, match=f"{said}, by this device's clock, which says 20"):
        reach(f"localhost:{port}", keys.authority)


def test_another_authority_is_refused(keys: ServerKeys, port: int, tmp_path: Path) -> None:
    other = ServerKeys(tmp_path / "other")
    make_pki(other.folder, 1, [])
    with pytest.raises(ValueError, match="its certificate is refused"):
        reach(f"localhost:{port}", other.authority)


def test_a_name_that_the_certificate_does_not_have_is_refused(
    tmp_path: Path, keys: ServerKeys, port: int
) -> None:
    with pytest.raises(ValueError, match=r"certificate is refused: .*127\.0\.0\.2"):
        reach(f"127.0.0.2:{port}", keys.authority)


def test_nobody_there_is_told_apart(keys: ServerKeys) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        reach(f"127.0.0.1:{find_free_port()}", keys.authority)


def test_a_server_that_says_nothing_is_given_up(keys: ServerKeys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unreachable, match="no answer within"):
            reach(f"127.0.0.1:{port}", keys.authority, seconds=0.2)


def test_a_file_that_is_no_certificate_is_named(keys: ServerKeys) -> None:
    with pytest.raises(ValueError, match=r"client\.pub: is no certificate"):
        reach("localhost:1", keys.client(0).public)


DEAD = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "ALL_PROXY", "grpc_proxy"), DEAD)


@pytest.mark.parametrize(
    ("environment", "spared"),
    [
        ({}, None),
        ({"no_proxy": "a"}, "a,localhost,127.0.0.1,::1"),
        (PROXIES, "localhost,127.0.0.1,::1"),
        (PROXIES | {"NO_PROXY": "a.org, .b"}, "a.org,.b,localhost,127.0.0.1,::1"),
        (PROXIES | {"no_proxy": "localhost"}, "localhost,127.0.0.1,::1"),
        (PROXIES | {"no_proxy": "*"}, "*"),
    ],
)
def test_no_proxy_is_asked_for_this_machine(environment: dict[str, str], spared: str) -> None:
    made = dict(environment)
    spare_loopback(made)
    again = dict(made)
    spare_loopback(again)
    assert made == again
    assert made.get("no_proxy") == made.get("no_grpc_proxy") or spared == "*"
    assert (made.get("no_proxy") or made.get("NO_PROXY")) == spared
    assert {name: made[name] for name in environment if "no_" not in name.lower()} == {
        name: value for name, value in environment.items() if "no_" not in name.lower()
    }


def test_http_and_grpc_reach_this_machine_past_a_dead_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{web.server_port}"
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)
        spare_loopback(os.environ)
        assert httpx.get(address).status_code == 501
        web.shutdown()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=20)
    server.stop(None).wait()
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name)


def test_addresses() -> None:
    assert split_address("server.example.org:9092") == ("server.example.org", 9092)
    assert split_address("[::1]:80") == ("::1", 80)
    for wrong in ("server", ":80", "server:", "server:http", "server:0", "server:70000"):
        with pytest.raises(ValueError, match="give HOST:PORT"):
            split_address(wrong)
