import ipaddress
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from fedssl.config_file import ConfigError
from simulations.deployment.pki import ServerKeys, make_pki


@pytest.fixture
def keys(tmp_path: Path) -> ServerKeys:
    keys = ServerKeys(tmp_path / "pki")
    make_pki(keys.folder, 2, ["server.example.org", "10.1.2.3"])
    return keys


def certificate(keys: ServerKeys) -> x509.Certificate:
    return x509.load_pem_x509_certificate(keys.certificate.read_bytes())


def test_private_files_are_for_their_owner_alone(keys: ServerKeys) -> None:
    private = {keys.authority_key, keys.key, *(keys.client(n).private for n in (0, 1))}
    for path in keys.folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        expected = 0o700 if path.is_dir() else 0o600 if path in private else 0o644
        assert mode == expected, path


def test_the_certificate_names_the_hosts_and_this_machine(keys: ServerKeys) -> None:
    names = certificate(keys).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["server.example.org", "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address(a) for a in ("10.1.2.3", "127.0.0.1", "::1")
    ]


def test_openssl_finds_the_chain_good(keys: ServerKeys) -> None:
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"]
    try:
        done = subprocess.run(
            [*command, str(keys.authority), str(keys.certificate)], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl here")
    assert done.returncode == 0, done.stderr


def test_key_folder_n_is_client_n(keys: ServerKeys) -> None:
    registered = keys.public_keys()
    assert registered.keys() == {0, 1}
    for number in (0, 1):
        own = keys.client(number)
        own.check()
        assert own.number() == number
        private = load_ssh_private_key(own.private.read_bytes(), None)
        assert registered[number].startswith(b"-----BEGIN PUBLIC KEY-----")
        assert private.public_key().key_size == 384  # type: ignore[union-attr]


def test_called_again_it_adds_clients_and_renews_the_server(keys: ServerKeys) -> None:
    before = {path: path.read_bytes() for path in keys.folder.rglob("*") if path.is_file()}
    written = make_pki(keys.folder, 3, ["new.example.org"])
    assert written == [keys.certificate, keys.key, keys.client(2).folder]
    for path, data in before.items():
        assert (path.read_bytes() == data) == (path not in written), path
    names = certificate(keys).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "new.example.org" in names.get_values_for_type(x509.DNSName)
    assert (
        certificate(keys).issuer == x509.load_pem_x509_certificate(before[keys.authority]).subject
    )


def test_half_an_authority_is_refused(keys: ServerKeys) -> None:
    keys.authority_key.unlink()
    with pytest.raises(ConfigError, match=r"only one of ca\.crt and ca\.key"):
        make_pki(keys.folder, 2, [])


def test_a_revoked_client_is_not_registered(keys: ServerKeys) -> None:
    keys.client(0).public.unlink()
    assert keys.public_keys().keys() == {1}


def test_a_key_in_anothers_folder_is_refused(keys: ServerKeys) -> None:
    keys.client(0).public.write_bytes(keys.client(1).public.read_bytes())
    with pytest.raises(ConfigError, match="is the key of client 1"):
        keys.public_keys()
    keys.client(0).public.write_text("nonsense")
    with pytest.raises(ConfigError, match="is no public key"):
        keys.public_keys()


def test_what_is_missing_is_named(keys: ServerKeys, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ca\.crt: there is no such file; make the keys"):
        ServerKeys(tmp_path).check()
    own = keys.client(0)
    own.private.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        own.check()
    own.public.write_text("ecdsa-sha2-nistp384 AAAA someone@somewhere")
    with pytest.raises(ConfigError, match="fedssl-client-NUMBER"):
        own.number()
