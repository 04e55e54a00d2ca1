"""What a monitoring system reads of a federation."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fedssl.base.config_file import ConfigError
from simulations.deployment.metrics import Address, Metrics
from simulations.deployment.status import (
    StatusBoard,
    ask_server,
)
from tests.tools.command import wide_fedssl


@pytest.fixture
def address(board: StatusBoard) -> Iterator[str]:
    with Metrics(Address("127.0.0.1", 0)) as metrics:
        metrics.serve(board)
        yield f"127.0.0.1:{metrics.port}"


def read(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def test_metrics_are_the_status(address: str, board: StatusBoard) -> None:
    families = text_string_to_metric_families(read(f"http://{address}/metrics"))
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    for number in (0, 2):
        seen = datetime.fromisoformat(board.status().clients[number].last_seen or "")
        name = ("fedssl_client_last_seen_seconds", str(number))
        assert samples.pop(name) == pytest.approx(seen.timestamp(), abs=1e-3)
    assert samples == {
        ("fedssl_round",): 1,
        ("fedssl_rounds",): 3,
        ("fedssl_members",): 3,
        ("fedssl_connected",): 1,
        ("fedssl_round_seconds",): 3.5,
        ("fedssl_linear_accuracy",): 0.25,
        ("fedssl_bytes_up_total",): 100,
        ("fedssl_bytes_down_total",): 220,
        ("fedssl_failed_replies_total", "refused"): 0,
        ("fedssl_failed_replies_total", "lost"): 1,
        ("fedssl_failed_replies_total", "error"): 0,
    }


def test_a_server_is_asked_for_its_status(address: str, board: StatusBoard) -> None:
    found, how = ask_server(address)
    assert found.clients == board.status().clients
    assert how.startswith("after round 1 of 3 since ")
    result = wide_fedssl("status", "--server", address)
    assert result.exit_code == 0, result.output
    assert "1 of 3 clients are here" in result.output


def test_other_pages_are_not_there(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        read(f"http://{address}/etc/passwd")


def test_a_port_that_is_taken_is_named(address: str) -> None:
    with pytest.raises(ConfigError, match=rf"--metrics = {address}: cannot listen there"):
        Metrics(Address.parse(address))


def test_an_address_is_a_port_of_the_loopback_device_or_names_its_host() -> None:
    assert Address.parse("9100") == Address("127.0.0.1", 9100)
    assert Address.parse("0.0.0.0:9100") == Address("0.0.0.0", 9100)
    assert Address.parse("[::1]:9100") == Address("::1", 9100)
    for text in ("", "0", "65536", "a", "host:", "a b:1", "1:2:3", "9" * 99):
        with pytest.raises(ConfigError, match=r"--metrics = .*: give PORT, or HOST:PORT"):
            Address.parse(text)


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedssl\[metrics\]'"):
        Metrics(Address("127.0.0.1", 0))
