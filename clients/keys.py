"""A device's folder of keys, made by `fedssl certs` or requested by `fedssl join --request`."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedssl.base.config_file import ConfigError
from fedssl.base.files import atomic_write
from fedssl.base.plain_files import read_text

CURVE = ec.SECP384R1()
"""The elliptic curve of all clients' keys."""
MOST = 2**16
"""The most bytes of a file with keys or certificates."""
UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""The exceptions that `cryptography` raises for damaged or hostile files."""
# At most nine digits: more than any federation needs, and few enough for `int`.
_COMMENT = re.compile(r" fedssl-client-(\d{1,9})\s*\Z", re.ASCII)

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class ClientKeys:
    """The files ``ca.crt``, ``client.key`` and ``client.pub`` of a folder.

    Parameters
    ----------
    folder : Path
        The folder, such as ``pki/client-0``.
    """

    folder: Path

    @property
    def root_certificate(self) -> Path:
        """The authority's certificate in PEM, by which the server's is checked."""
        return self.folder / "ca.crt"

    @property
    def private(self) -> Path:
        """The private key in OpenSSH's format; only its owner may read it."""
        return self.folder / "client.key"

    @property
    def public(self) -> Path:
        """The public key, a line in OpenSSH's format that ends with the client's number."""
        return self.folder / "client.pub"

    @property
    def request(self) -> Path:
        """The request for the other two files, where `client.key` was made on the device."""
        return self.folder / "client.request"

    def number(self) -> int:
        """Return the number of the client that has these keys.

        Raises
        ------
        ConfigError
            The folder is not one that `fedssl certs` made.
        """
        comment = _COMMENT.search(read_text(self.public, MOST))
        if not comment:
            raise ConfigError(
                f"{self.public}: does not end with fedssl-client-NUMBER; make the keys by fedssl "
                "certs"
            )
        return int(comment[1])

    def public_key(self) -> PublicKey:
        """Return the public key.

        Raises
        ------
        ConfigError
            The file cannot be read, or holds no such key.
        """
        text = read_text(self.public, MOST)
        try:
            key = serialization.load_ssh_public_key(text.encode())
        except UNREADABLE:
            key = None
        if not isinstance(key, PublicKey):
            raise ConfigError(
                f"{self.public}: is damaged, or no public key of an elliptic curve in OpenSSH's "
                "format; bring it again from the server"
            )
        return key

    def private_key(self) -> PrivateKey:
        """Return the private key.

        Raises
        ------
        ConfigError
            The file cannot be read, or holds no such key.
        """
        text = read_text(self.private, MOST)
        try:
            key = serialization.load_ssh_private_key(text.encode(), None)
        except UNREADABLE:
            key = None
        if not isinstance(key, PrivateKey):
            raise ConfigError(
                f"{self.private}: is damaged, or no private key of an elliptic curve in OpenSSH's "
                "format without a passphrase; copy it again from where it was made"
            )
        return key

    def check(self) -> None:
        """Check that all files exist and match, and that only the owner can read the private key.

        Raises
        ------
        ConfigError
            A file is missing or invalid; the message names the file and the fix.
        """
        for path in (self.private, self.public, self.root_certificate):
            if not path.exists():
                raise ConfigError(f"{path}: there is no such file; {self._source(path)}")
        self.check_private()
        number = self.number()
        if self.private_key().public_key() != self.public_key():
            raise ConfigError(
                f"{self.private}: is not the key of client {number}, whose client.pub lies beside "
                "it; keep each client's files in a folder of their own, as fedssl certs made them"
            )
        read_certificate(self.root_certificate)

    def check_private(self) -> None:
        """Raise a ConfigError, with the fix, where others may read the private key."""
        if self.private.stat().st_mode & 0o077:
            raise ConfigError(
                f"{self.private}: others may read this private key; chmod 600 {self.private}"
            )

    def write_private(self, key: PrivateKey) -> None:
        """Write a private key to a file that only its owner can ever read."""
        data = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        write(self.private, data, mode=0o600)

    def write_public(self, key: PublicKey, number: int, authority: bytes) -> None:
        """Write the files from the server: the public key with the number, and the certificate."""
        line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        write(self.root_certificate, authority)
        write(self.public, line + f" fedssl-client-{number}\n".encode())

    def _source(self, path: Path) -> str:
        if path != self.private and self.request.exists():
            return (
                f"send {self.request} to whoever runs the server, and bring back ca.crt and "
                "client.pub"
            )
        return (
            "--pki is a client's own folder, such as pki/client-0, that fedssl certs made on the "
            "server"
        )


def fingerprint(key: PublicKey) -> str:
    """Return a public key's fingerprint: the SHA-256 of its DER, as ``AB:CD:…``."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return format_digest(hashlib.sha256(der).digest())


def format_digest(digest: bytes) -> str:
    """Return a hash in the format of `openssl x509 -fingerprint`.

    >>> format_digest(bytes([171, 1]))
    'AB:01'
    """
    return digest.hex(":").upper()


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds no certificate.
    """
    text = read_text(path, MOST)
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
        # Parsed only on access.
        certificate.public_key(), certificate.extensions, certificate.not_valid_after_utc
        return certificate
    except UNREADABLE:
        raise ConfigError(
            f"{path}: is damaged, or no certificate in PEM; copy it again from where it was made"
        ) from None


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file atomically, with this mode from its first byte on."""
    with atomic_write(path, mode) as temporary:
        temporary.write_bytes(data)
