"""The folder of keys that a device gets from `fedssl certs`."""

import re
from dataclasses import dataclass
from pathlib import Path

from fedssl.config_file import ConfigError

_COMMENT = re.compile(r"fedssl-client-(\d+)")


@dataclass(frozen=True)
class ClientKeys:
    """The files ``ca.crt``, ``client.key`` and ``client.pub`` of a folder.

    Parameters
    ----------
    folder : Path
        Such as ``pki/client-0``.
    """

    folder: Path

    @property
    def root_certificate(self) -> Path:
        """The certificate by which the server's is checked, PEM."""
        return self.folder / "ca.crt"

    @property
    def private(self) -> Path:
        """The private key, in OpenSSH's format; nobody but its owner may read it."""
        return self.folder / "client.key"

    @property
    def public(self) -> Path:
        """The public key, a line in OpenSSH's format that ends with the client's number."""
        return self.folder / "client.pub"

    def number(self) -> int:
        """Return which client of the federation these keys are for.

        Raises
        ------
        ConfigError
            The folder is not one that `fedssl certs` made.
        """
        try:
            found = _COMMENT.search(self.public.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.public}: cannot be read: {error}") from error
        if not found:
            raise ConfigError(
                f"{self.public}: does not end with fedssl-client-NUMBER; make the keys by fedssl "
                "certs"
            )
        return int(found[1])

    def check(self) -> None:
        """See that all files are there, and the private key is private.

        Raises
        ------
        ConfigError
            Names the file and the fix.
        """
        for path in (self.root_certificate, self.private, self.public):
            if not path.is_file():
                raise ConfigError(
                    f"{path}: there is no such file; --pki is a client's own folder, such as "
                    "pki/client-0, that fedssl certs made on the server"
                )
        if self.private.stat().st_mode & 0o077:
            raise ConfigError(
                f"{self.private}: others may read this private key; chmod 600 {self.private}"
            )
        self.number()
