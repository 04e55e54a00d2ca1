import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.reaching import Unreachable, free_port, parse, reach
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
        reach(f"127.0.0.1:{free_port()}", keys.authority)


def test_a_file_that_is_no_certificate_is_named(keys: ServerKeys) -> None:
    with pytest.raises(ValueError, match=r"client\.pub: is no certificate"):
        reach("localhost:1", keys.client(0).public)


def test_addresses() -> None:
    assert parse("server.example.org:9092") == ("server.example.org", 9092)
    assert parse("[::1]:80") == ("::1", 80)
    for wrong in ("server", ":80", "server:", "server:http", "server:0", "server:70000"):
        with pytest.raises(ValueError, match="give HOST:PORT"):
            parse(wrong)
