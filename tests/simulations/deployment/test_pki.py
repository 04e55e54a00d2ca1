import ipaddress
import shutil
import stat
import subprocess
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.keys import ClientKeys, fingerprint, read_certificate
from clients.request import make_request
from fedssl.base.config_file import ConfigError
from simulations.deployment import certificates
from simulations.deployment.certificates import hosts_of
from simulations.deployment.pki import ServerKeys, make_pki, revoke, sign
from simulations.record.lock import lock_folder


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
        changes = path in written or path == keys.record
        assert (path.read_bytes() == data) != changes, path
    names = certificate(keys).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["new.example.org", "localhost"]
    assert (
        certificate(keys).issuer == x509.load_pem_x509_certificate(before[keys.authority]).subject
    )
    keys.check()


def test_adding_clients_needs_no_key_of_the_authority_and_keeps_the_certificate(
    keys: ServerKeys,
) -> None:
    keys.authority_key.unlink()
    before = keys.certificate.read_bytes()
    assert make_pki(keys.folder, 3, []) == [keys.client(2).folder]
    assert keys.certificate.read_bytes() == before
    for hosts, clients in ((["a.example.org"], 3), ([], None)):
        with pytest.raises(ConfigError, match=r"ca\.key: there is no such file.* bring it back"):
            make_pki(keys.folder, clients, hosts)
    assert keys.certificate.read_bytes() == before


def test_without_clients_it_renews_the_certificate_for_the_same_names(keys: ServerKeys) -> None:
    before = certificate(keys)
    assert make_pki(keys.folder, None, []) == [keys.certificate, keys.key]
    after = certificate(keys)
    assert after.serial_number != before.serial_number
    assert hosts_of(after) == hosts_of(before) == ["server.example.org", "10.1.2.3"]
    assert keys.public_keys().keys() == {0, 1}


@pytest.mark.parametrize("host", ["https://a.org", "a.org:9092", "a b", "", "ä.org", "x" * 64])
def test_what_is_no_host_is_refused_before_anything_is_written(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="--host = "):
        make_pki(tmp_path / "pki", 1, ["good.org", host])
    assert not (tmp_path / "pki").exists()


def test_half_an_authority_is_refused(keys: ServerKeys) -> None:
    keys.authority.unlink()
    with pytest.raises(ConfigError, match=r"holds only ca\.key and not ca\.crt"):
        make_pki(keys.folder, 2, [])
    keys.authority_key.unlink()
    # A new one would shut out all who have the old one.
    with pytest.raises(ConfigError, match=r"clients have it; put it back with ca\.key"):
        make_pki(keys.folder, 2, [])
    assert not keys.authority.exists()


def test_a_request_gets_the_next_number_and_what_the_device_lacks(
    keys: ServerKeys, tmp_path: Path
) -> None:
    device = ClientKeys(tmp_path / "device")
    make_request(device.folder)
    key = device.private_key().public_key()
    assert sign(keys.folder, [device.request]) == {2: fingerprint(key)}
    answer = keys.client(2)
    assert sorted(path.name for path in answer.folder.iterdir()) == ["ca.crt", "client.pub"]
    assert keys.public_keys().keys() == {0, 1, 2}
    for path in answer.folder.iterdir():
        (device.folder / path.name).write_bytes(path.read_bytes())
    device.check()
    assert device.number() == 2


def test_a_key_is_signed_once_and_never_again_once_revoked(
    keys: ServerKeys, tmp_path: Path
) -> None:
    device = ClientKeys(tmp_path / "device")
    make_request(device.folder)
    with pytest.raises(ConfigError, match="its key is client 2's already;"):
        sign(keys.folder, [device.request, _copy(device.request)])
    assert keys.public_keys().keys() == {0, 1}
    sign(keys.folder, [device.request])
    with pytest.raises(ConfigError, match="its key is client 2's already;"):
        sign(keys.folder, [device.request])
    revoke(keys.folder, [2])
    with pytest.raises(ConfigError, match="is client 2's already, revoked on"):
        sign(keys.folder, [device.request])
    assert keys.public_keys().keys() == {0, 1}


def test_one_bad_request_and_none_is_signed(keys: ServerKeys, tmp_path: Path) -> None:
    device = ClientKeys(tmp_path / "device")
    make_request(device.folder)
    bad = tmp_path / "bad.request"
    bad.write_text("nonsense")
    with pytest.raises(ConfigError, match=r"bad\.request: is no request for a key"):
        sign(keys.folder, [device.request, bad])
    assert keys.public_keys().keys() == {0, 1}
    assert sign(keys.folder, [device.request]).keys() == {2}


def test_without_an_authority_nothing_is_signed(tmp_path: Path) -> None:
    make_request(tmp_path / "device")
    with pytest.raises(ConfigError, match=r"ca\.crt: there is no such file; first make"):
        sign(tmp_path / "pki", [tmp_path / "device" / "client.request"])
    assert not (tmp_path / "pki").exists()


def test_a_revoked_client_is_not_registered(keys: ServerKeys) -> None:
    revoke(keys.folder, [0])
    assert keys.public_keys().keys() == {1}
    assert [client.revoked is None for client in keys.numbers().all.values()] == [False, True]
    with pytest.raises(ConfigError, match="--revoke = 7: there never was such a client"):
        revoke(keys.folder, [1, 7])
    assert keys.public_keys().keys() == {1}


def test_a_revoked_key_that_is_put_back_is_refused(keys: ServerKeys) -> None:
    before = keys.client(0).public.read_bytes()
    revoke(keys.folder, [0])
    keys.client(0).public.write_bytes(before)
    with pytest.raises(ConfigError, match=r"client 0 was revoked on .*; delete the file"):
        keys.public_keys()
    revoke(keys.folder, [0])
    assert keys.public_keys().keys() == {1}


def test_a_damaged_key_can_be_revoked(keys: ServerKeys) -> None:
    keys.client(0).public.write_text("nonsense")
    revoke(keys.folder, [0])
    assert keys.public_keys().keys() == {1}


def test_a_number_that_was_given_is_never_given_another_key(keys: ServerKeys) -> None:
    own = keys.client(0)
    own.write_public(keys.client(1).private_key().public_key(), 0, b"")
    with pytest.raises(ConfigError, match="another key than the one that number 0 was given to"):
        keys.public_keys()
    # As it was before there was a record.
    keys.record.unlink()
    with pytest.raises(ConfigError, match="is the same key as client 0's"):
        keys.public_keys()


def test_a_folder_without_a_record_gets_one_from_what_is_there(keys: ServerKeys) -> None:
    make_pki(keys.folder, 4, [])
    keys.record.unlink()
    # As clients were revoked before there was a record.
    shutil.rmtree(keys.client(1).folder)
    keys.client(3).public.unlink()
    assert make_pki(keys.folder, 3, []) == [keys.client(4).folder]
    assert list(keys.numbers().all) == [0, 2, 3, 4]
    assert keys.public_keys().keys() == {0, 2, 4}


def test_more_members_than_asked_for_are_told(keys: ServerKeys) -> None:
    with pytest.raises(ConfigError, match=r"--clients = 1: there are 2 already; .*--revoke NUMBER"):
        make_pki(keys.folder, 1, [])
    revoke(keys.folder, [1])
    assert make_pki(keys.folder, 1, []) == []


def test_two_at_once_are_kept_apart(keys: ServerKeys) -> None:
    with (
        lock_folder(keys.folder, print),
        pytest.raises(ConfigError, match="writes there; wait until"),
    ):
        make_pki(keys.folder, 3, [])


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.sampled_from(["add", "add two", "revoke", "delete", "lose"]), max_size=8))
def test_no_number_is_ever_given_twice(steps: list[str]) -> None:
    with TemporaryDirectory() as temporary:
        keys = ServerKeys(Path(temporary) / "pki")
        make_pki(keys.folder, None, [])
        ever: list[int] = []
        for step in steps:
            there = sorted(keys.public_keys())
            if step.startswith("add"):
                wanted = len(there) + 1 + (step == "add two")
                make_pki(keys.folder, wanted, [])
                assert len(keys.public_keys()) == wanted
                ever += sorted(set(keys.public_keys()) - set(there))
            elif there:
                number = there[-1]
                if step == "revoke":
                    revoke(keys.folder, [number])
                elif step == "delete":
                    shutil.rmtree(keys.client(number).folder)
                else:
                    keys.client(number).public.unlink()
                assert keys.public_keys().keys() == set(there) - {number}
        assert ever == list(range(len(ever)))
        assert list(keys.numbers().all) == ever


def test_a_key_in_anothers_folder_is_refused(keys: ServerKeys) -> None:
    keys.client(0).public.write_bytes(keys.client(1).public.read_bytes())
    with pytest.raises(ConfigError, match="is the key of client 1"):
        keys.public_keys()
    keys.client(0).public.write_text("nonsense")
    with pytest.raises(ConfigError, match="is damaged, or no public key"):
        keys.public_keys()


def test_what_is_missing_is_named(keys: ServerKeys, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ca\.crt: there is no such file; make the keys"):
        ServerKeys(tmp_path).check()
    own = keys.client(0)
    own.private.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        own.check()


def test_a_server_is_refused_whose_certificate_clients_would_refuse(
    keys: ServerKeys, tmp_path: Path
) -> None:
    other = ServerKeys(tmp_path / "other")
    make_pki(other.folder, 1, [])
    keys.check()
    for path, content, message in (
        (keys.key, other.key.read_bytes(), r"server\.key: is not the key of server\.crt"),
        (keys.authority, other.authority.read_bytes(), r"was not signed by ca\.crt"),
        (keys.key, b"nonsense", r"server\.key: is damaged, or no private key"),
        (keys.certificate, b"nonsense", r"server\.crt: is damaged, or no certificate"),
        (keys.authority, b"", r"ca\.crt: is damaged, or no certificate"),
    ):
        before = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message) as caught:
            keys.check()
        assert "\n" not in str(caught.value)
        path.write_bytes(before)
    keys.check()


def test_another_authoritys_key_makes_no_certificate(keys: ServerKeys) -> None:
    keys.authority_key.write_bytes(keys.key.read_bytes())
    before = keys.certificate.read_bytes()
    with pytest.raises(ConfigError, match=r"ca\.key: is not the key of ca\.crt"):
        make_pki(keys.folder, None, [])
    assert keys.certificate.read_bytes() == before


def test_an_expired_certificate_is_told_before_and_refused_after(
    keys: ServerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys.warnings() == []
    monkeypatch.setattr(certificates, "SERVER_DAYS", 20)
    make_pki(keys.folder, None, [])
    keys.check()
    (warning,) = keys.warnings()
    assert "server.crt: expires in 19 days" in warning
    assert f"renew it by fedssl certs --out {keys.folder}" in warning
    monkeypatch.setattr(certificates, "SERVER_DAYS", 0)
    make_pki(keys.folder, None, [])
    with pytest.raises(ConfigError, match=r"server\.crt: expired on .*; make a new one by fedssl"):
        keys.check()


def test_no_certificate_outlives_its_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ServerKeys(tmp_path / "pki")
    monkeypatch.setattr(certificates, "AUTHORITY_DAYS", 10)
    make_pki(keys.folder, 1, [])
    keys.check()
    assert (
        certificate(keys).not_valid_after_utc
        == read_certificate(keys.authority).not_valid_after_utc
    )
    assert len(keys.warnings()) == 2
    shutil.rmtree(keys.folder)
    monkeypatch.setattr(certificates, "AUTHORITY_DAYS", 0)
    with pytest.raises(ConfigError, match=r"ca\.crt: expired on"):
        make_pki(keys.folder, 1, [])


def test_a_clock_that_is_behind_is_told(keys: ServerKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Behind":
            return super().now(tz) - timedelta(days=2)

    monkeypatch.setattr(certificates, "datetime", Behind)
    with pytest.raises(ConfigError, match=r"ca\.crt: is valid from .* on, .* set the clock"):
        keys.check()


def _copy(path: Path) -> Path:
    return Path(shutil.copy(path, path.with_suffix(".copy")))
