import base64
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from hypothesis import example, given
from hypothesis import strategies as st

from clients.keys import ClientKeys, fingerprint
from clients.request import make_request, read_request
from fedssl.base.config_file import ConfigError


def signed(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    # Ed25519 hashes by itself.
    hashed = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA384()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashed)
    return request.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    make_request(tmp_path / "client")
    return tmp_path / "client" / "client.request"


def test_the_private_key_stays_private_and_the_request_proves_it(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path / "there" / "client")
    said = make_request(keys.folder)
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(keys.private.stat().st_mode) == 0o600
    key = read_request(keys.request)
    assert key == keys.private_key().public_key()
    assert any(fingerprint(key) in line for line in said)
    assert "PRIVATE" not in keys.request.read_text()


def test_made_again_it_keeps_the_key(request_file: Path) -> None:
    before = read_request(request_file)
    request_file.unlink()
    make_request(request_file.parent)
    assert read_request(request_file) == before


def test_an_answered_request_is_not_made_again(request_file: Path) -> None:
    keys = ClientKeys(request_file.parent)
    keys.public.touch()
    before = keys.private.read_bytes(), keys.request.read_bytes()
    with pytest.raises(ConfigError, match="the request was answered"):
        make_request(keys.folder)
    assert (keys.private.read_bytes(), keys.request.read_bytes()) == before


def test_a_damaged_key_is_neither_used_nor_replaced(request_file: Path) -> None:
    keys = ClientKeys(request_file.parent)
    keys.private.write_text("damaged")
    with pytest.raises(ConfigError, match=r"client\.key: is damaged"):
        make_request(keys.folder)
    assert keys.private.read_text() == "damaged"
    keys.private.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        make_request(keys.folder)


def test_other_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.request"
    for content, message in (
        (signed(rsa.generate_private_key(65537, 2048)), "its key is RSA, where secp384r1 is due"),
        (signed(ec.generate_private_key(ec.SECP256R1())), "its key is secp256r1, where secp384r1"),
        (signed(ed25519.Ed25519PrivateKey.generate()), "its key is Ed25519, where"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_request(path)


def test_anothers_public_key_cannot_be_asked_for(request_file: Path) -> None:
    """Put one key into a request that another signed."""
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    own = read_request(request_file)
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    request = x509.load_pem_x509_csr(request_file.read_bytes())
    der = request.public_bytes(serialization.Encoding.DER)
    forged = der.replace(own.public_bytes(*form), key.public_bytes(*form))
    assert forged != der
    pem = x509.load_der_x509_csr(forged).public_bytes(serialization.Encoding.PEM)
    request_file.write_bytes(pem)
    with pytest.raises(ConfigError, match="its signature is not good"):
        read_request(request_file)


def test_what_is_no_request_is_refused(request_file: Path) -> None:
    whole = request_file.read_bytes()
    private = request_file.with_name("client.key").read_bytes()
    for content, message in (
        (b"", "is no request for a key"),
        (private, "is no request for a key"),
        (whole[: len(whole) // 2], "is no request for a key"),
        (bytes(range(256)), "is not a text in UTF-8"),
        (whole + b" " * 1_000_000, "is larger than 0.0625 MiB"),
    ):
        request_file.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_request(request_file)
    request_file.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        read_request(request_file)
    os.mkfifo(request_file)
    with pytest.raises(ConfigError, match="it is a pipe"):
        read_request(request_file)


DER = x509.load_pem_x509_csr(signed(ec.generate_private_key(ec.SECP384R1()))).public_bytes(
    serialization.Encoding.DER
)


SIGNED = DER.rindex(b"\x2a\x86\x48\xce\x3d\x04\x03\x03")
"""Where the signature begins, with the name of how it is made."""


@given(place=st.integers(0, len(DER) - 1), bits=st.integers(1, 255))
# The version, which cryptography refuses by an error of its own.
@example(place=DER.index(b"\x02\x01\x00") + 2, bits=1)
def test_a_request_with_any_byte_changed_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, place: int, bits: int
) -> None:
    changed = DER[:place] + bytes([DER[place] ^ bits]) + DER[place + 1 :]
    path = tmp_path_factory.getbasetemp() / "changed.request"
    body = base64.encodebytes(changed).decode()
    path.write_text(
        f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"
    )
    # Nothing but how the signature is written has more than one good form.
    with pytest.raises(ConfigError) if place < SIGNED else suppress(ConfigError):
        read_request(path)
