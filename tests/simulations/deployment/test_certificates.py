import base64
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fedssl.base.config_file import ConfigError
from simulations.deployment.certificates import (
    check_server,
    make_authority,
    make_server_certificate,
    new_key,
)

AUTHORITY_KEY, KEY = new_key(), new_key()
AUTHORITY = make_authority(AUTHORITY_KEY)
CERTIFICATE = make_server_certificate(KEY, AUTHORITY, AUTHORITY_KEY, ["server.example.org"])
DER = CERTIFICATE.public_bytes(serialization.Encoding.DER)
SIGNED = len(CERTIFICATE.tbs_certificate_bytes)
"""So far, at least, everything is signed."""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    paths = tmp_path / "ca.crt", tmp_path / "server.crt", tmp_path / "server.key"
    paths[0].write_bytes(AUTHORITY.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(CERTIFICATE.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        KEY.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def test_what_was_made_is_good(files: tuple[Path, Path, Path]) -> None:
    check_server(*files)


def test_a_certificate_between_is_followed_to_the_authority(
    files: tuple[Path, Path, Path],
) -> None:
    between = new_key()
    middle = make_server_certificate(between, AUTHORITY, AUTHORITY_KEY, [])
    own = make_server_certificate(KEY, middle, between, [])
    pem = [one.public_bytes(serialization.Encoding.PEM) for one in (own, middle)]
    files[1].write_bytes(b"".join(pem))
    check_server(*files)
    files[1].write_bytes(pem[0])
    with pytest.raises(ConfigError, match=r"was not signed by ca\.crt"):
        check_server(*files)


# Of a serial number that is negative.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, len(DER) - 1), bits=st.integers(1, 255))
@example(place=DER.index(b"\x02\x01\x02") + 2, bits=8)
def test_a_certificate_with_any_byte_changed_is_refused_in_words(
    files: tuple[Path, Path, Path], place: int, bits: int
) -> None:
    changed = DER[:place] + bytes([DER[place] ^ bits]) + DER[place + 1 :]
    body = base64.encodebytes(changed).decode()
    files[1].write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
    # Nothing but how the signature is written has more than one good form.
    with pytest.raises(ConfigError) if place < SIGNED else suppress(ConfigError):
        check_server(*files)
