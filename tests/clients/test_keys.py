import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from clients.keys import CURVE, ClientKeys, fingerprint
from fedssl.base.config_file import ConfigError
from simulations.deployment.certificates import make_authority, new_key

AUTHORITY = make_authority(new_key()).public_bytes(serialization.Encoding.PEM)


def made(folder: Path, number: int = 0) -> ClientKeys:
    folder.mkdir()
    keys = ClientKeys(folder)
    key = ec.generate_private_key(CURVE)
    keys.write_private(key)
    keys.write_public(key.public_key(), number, AUTHORITY)
    return keys


@pytest.fixture
def keys(tmp_path: Path) -> ClientKeys:
    return made(tmp_path / "client-0")


def test_what_was_made_is_good(keys: ClientKeys) -> None:
    keys.check()
    assert keys.number() == 0
    assert keys.private_key().public_key() == keys.public_key()


def test_another_clients_key_in_this_folder_is_refused(keys: ClientKeys, tmp_path: Path) -> None:
    other = made(tmp_path / "client-1", 1)
    keys.private.write_bytes(other.private.read_bytes())
    with pytest.raises(ConfigError, match=r"client\.key: is not the key of client 0"):
        keys.check()


@pytest.mark.parametrize("name", ["client.key", "client.pub", "ca.crt"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "binary", "huge", "folder", "pipe"])
def test_a_damaged_file_is_named_in_a_sentence(keys: ClientKeys, name: str, damage: str) -> None:
    path = keys.folder / name
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir(0o700)
    elif damage == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.write_bytes(
            {
                "cut": whole[: len(whole) // 2],
                "empty": b"",
                "text": b"nonsense fedssl-client-0\n",
                "binary": bytes(range(256)),
                "huge": whole + b"\n" * 100_000,
            }[damage]
        )
        path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        keys.check()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_key_of_another_kind_is_refused(keys: ClientKeys) -> None:
    none = serialization.NoEncryption()
    for key, form in (
        (ed25519.Ed25519PrivateKey.generate(), serialization.PrivateFormat.OpenSSH),
        (keys.private_key(), serialization.PrivateFormat.PKCS8),
    ):
        data = key.private_bytes(serialization.Encoding.PEM, form, none)
        before = keys.private.read_bytes()
        keys.private.write_bytes(data)
        with pytest.raises(ConfigError, match="no private key of an elliptic curve in OpenSSH's"):
            keys.check()
        keys.private.write_bytes(before)
    keys.check()


def test_a_key_with_a_passphrase_is_refused(keys: ClientKeys) -> None:
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(keys.private)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no ssh-keygen here")
    with pytest.raises(ConfigError, match="without a passphrase"):
        keys.check()


@pytest.mark.parametrize("comment", ["", "someone@somewhere", "fedssl-client-" + "9" * 5000])
def test_a_number_must_be_one(keys: ClientKeys, comment: str) -> None:
    line = keys.public.read_text().rsplit(" ", 1)[0]
    keys.public.write_text(f"{line} {comment}\n")
    with pytest.raises(ConfigError, match="does not end with fedssl-client-NUMBER"):
        keys.check()


def test_a_request_without_answer_is_told(keys: ClientKeys) -> None:
    keys.public.unlink()
    keys.request.touch()
    with pytest.raises(ConfigError, match=r"send .*client\.request .* bring back ca\.crt and"):
        keys.check()
    keys.private.unlink()
    with pytest.raises(ConfigError, match="that fedssl certs made on the server"):
        keys.check()


def test_a_fingerprint_is_that_of_the_key_and_of_no_other(keys: ClientKeys, tmp_path: Path) -> None:
    own = fingerprint(keys.public_key())
    assert own == fingerprint(keys.private_key().public_key())
    assert own != fingerprint(made(tmp_path / "other").public_key())
    # 32 bytes in pairs of hexadecimal digits.
    assert [len(pair) for pair in own.split(":")] == [2] * 32
