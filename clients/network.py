"""Network helpers: parse the server's address, test whether it answers, and bypass proxies."""

import socket
import ssl
from collections.abc import MutableMapping
from datetime import UTC, datetime
from pathlib import Path

SECONDS = 10.0
_NOT_NOW = (9, 10)
"""OpenSSL's codes of a certificate that is not yet valid, and of one that has expired."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Unreachable(OSError):
    """The server does not answer now."""


def split_address(server: str) -> tuple[str, int]:
    """Split ``HOST:PORT``.

    >>> split_address("server.example.org:9092")
    ('server.example.org', 9092)

    Raises
    ------
    ValueError
        The text has another form.
    """
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--server = {server}: give HOST:PORT, such as server.example.org:9092")
    return host.strip("[]"), int(port)


def find_free_port() -> int:
    """Return a port of the loopback device on which no program listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spare_loopback(environment: MutableMapping[str, str]) -> None:
    """Set the environment so that connections to this machine itself use no proxy.

    gRPC and HTTP clients read these variables, and a proxy elsewhere cannot reach our processes.
    """
    if not any(name.lower().endswith("_proxy") for name in environment):
        return
    settings = [environment.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    both = ",".join(hosts for hosts in settings if hosts)
    # gRPC looks at this one first.
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        hosts = [host.strip() for host in (environment.get(name) or both).split(",")]
        if "*" not in hosts:
            unproxied = dict.fromkeys([*filter(None, hosts), *LOOPBACK])
            environment[name] = ",".join(unproxied)


def reach(server: str, root_certificate: Path, seconds: float = SECONDS) -> None:
    """Make a TLS handshake with the server, and check its certificate.

    Parameters
    ----------
    server : str
        ``HOST:PORT``.
    root_certificate : Path
        The authority that must have signed it.
    seconds : float
        The seconds that the server has to answer.

    Raises
    ------
    Unreachable
        The server does not answer, or its certificate is not valid at this device's time.
    ValueError
        The server's certificate is not trusted, or the file holds no certificate.
    """
    host, port = split_address(server)
    try:
        context = ssl.create_default_context(cafile=root_certificate)
    except ssl.SSLError as error:
        raise ValueError(f"{root_certificate}: is no certificate ({error.reason})") from error
    # Without it a gRPC server ends the handshake.
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((host, port), seconds) as plain:
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _NOT_NOW:
            raise Unreachable(
                f"{server}: {error.verify_message}, by this device's clock, which says "
                f"{datetime.now(UTC):%Y-%m-%d}; if that is wrong, set it, such as by NTP; else "
                "have who runs the server renew it by fedssl certs and start fedssl serve again"
            ) from error
        raise ValueError(
            f"{server}: its certificate is refused: {error.verify_message}; reach it by a name "
            f"that fedssl certs --host was given, with the {root_certificate.name} that was made "
            "with it"
        ) from error
    except ssl.SSLError as error:
        raise ValueError(f"{server}: does not speak TLS ({error.reason})") from error
    except TimeoutError as error:
        raise Unreachable(f"{server}: no answer within {seconds:.0f} s") from error
    except OSError as error:
        raise Unreachable(f"{server}: cannot be reached: {error.strerror or error}") from error
