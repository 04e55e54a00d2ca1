"""Three devices against a server: TLS, keys, processes that are killed, and equal bits."""

import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from PIL import Image

from clients.child_process import ChildProcess
from clients.network import find_free_port
from fedssl.base.config_file import parse_yaml
from simulations.running.run import run
from simulations.settings.experiment import Experiment
from simulations.setup.prepare import prepare
from tests.tools.federation import Federation, federation, gone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc"),
]
Small = Callable[..., Experiment]
THREE = ("partition.clients=3", "participation=1.0", "data.size=16")
SLOW = ("rounds=4", "client.local_epochs=null", "client.local_steps=60")


SUPERNODE = "flwr.supernode.cli:flower_supernode"


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Federation]:
    with federation(tmp_path) as made:
        assert made.run("certs", "--clients", "3", "--out", "pki").wait() == 0
        yield made


def sha256(run_folder: Path) -> str:
    return hashlib.sha256((run_folder / "model.safetensors").read_bytes()).hexdigest()


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.timeout(600)
def test_killed_clients_and_servers_change_no_bit(
    small: Small, devices: Federation, tmp_path: Path
) -> None:
    config, asked = tmp_path / "small.yaml", (*THREE, *SLOW)
    devices.write_examples(prepare(small(*asked)))
    serving = (*asked, "engine.name=flower", "engine.min_clients=3", "engine.round_timeout=30")
    server = devices.serve(config, *serving)
    server.wait_for("listening on port")
    check = devices.join(0, "--check")
    assert check.wait() == 0, check.text
    for line in (
        "examples: 16 images in examples-0",
        "server: ",
        "key: ",
        "clock: ",
        "fedssl: both have ",
    ):
        assert f"ok  {line}" in check.text
    clients = [devices.join(client) for client in range(3)]

    server.wait_for("round 1/4")
    time.sleep(1.0)
    below = clients[1].children()
    clients[1].kill()
    assert gone(below), "the SuperNode outlived fedssl join"
    clients[1] = devices.join(1)
    server.wait_for("engine.min_clients = 3")
    server.wait_for("round 2/4")
    time.sleep(1.0)
    below = server.children()
    server.kill()
    assert gone(below), "the SuperLink outlived fedssl serve"
    server = devices.serve(config, *serving, "--resume")
    server.wait_for("round 3/4")
    (link,) = (pid for pid in server.children() if b"flower_superlink" in command_line(pid))
    os.kill(link, signal.SIGKILL)
    assert server.wait() == 1, server.text
    assert "the SuperLink ended by itself" in server.text
    server = devices.serve(config, *serving, "--resume")
    server.wait_for("is here")
    # Flower ends its connections in order then, on which its SuperNodes once hung.
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 130
    server = devices.serve(config, *serving, "--resume")
    assert server.wait() == 0, server.text
    assert "going on with round 4 of 4" in server.text

    run(small(*asked), tmp_path / "local")
    assert sha256(tmp_path / "run") == sha256(tmp_path / "local")
    for client in clients:
        below = client.children()
        assert client.interrupt() == 130
        assert gone(below)
    generations = sorted(path.name for path in (tmp_path / "state-0").glob("*/*.safetensors"))
    assert generations == [f"round-{number}.safetensors" for number in (2, 3, 4)]
    resolved = parse_yaml((tmp_path / "run" / "config.yaml").read_text(), "config.yaml")
    assert resolved["engine"]["name"] == "flower"


def test_who_has_no_good_key_is_refused(small: Small, devices: Federation, tmp_path: Path) -> None:
    small()
    (tmp_path / "examples-0").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "examples-0" / "0.png")
    health = str(find_free_port())
    server = devices.serve(tmp_path / "small.yaml", *THREE, "--health", health)
    assert devices.run("certs", "--clients", "1", "--out", "others").wait() == 0
    server.wait_for("waiting for 3 clients")
    with grpc.insecure_channel(f"localhost:{health}") as channel:
        status = HealthStub(channel).Check(HealthCheckRequest()).status
    assert status == HealthCheckResponse.SERVING

    stranger = devices.join(0, pki="others")
    assert stranger.wait() == 2
    assert "its certificate is refused" in stranger.text
    root = tmp_path / "pki" / "ca.crt"
    (tmp_path / "others" / "client-0" / "ca.crt").write_bytes(root.read_bytes())
    stranger = devices.join(0, "--check", pki="others")
    assert stranger.wait() == 1
    assert "refuses client 0: either it has not this client's client.pub" in stranger.text
    arguments = ["--superlink", f"localhost:{devices.port}", "--root-certificates", str(root)]
    with ChildProcess(
        SUPERNODE, [*arguments, "--port", str(find_free_port())], tmp_path / "log"
    ) as keyless:
        deadline = time.monotonic() + 60
        while not keyless.ended:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert "[code: 2001]" in (tmp_path / "log").read_text()

    known = devices.join(1, "--check", "--examples", "examples-0")
    assert known.wait() == 0, known.text
    assert server.interrupt() == 130
    logs = [*tmp_path.glob("*.log"), *tmp_path.glob("*/*.log"), *tmp_path.glob("run/*/*.log")]
    told = "".join(path.read_text() for path in logs)
    secrets = [path.read_text().splitlines()[1] for path in tmp_path.glob("**/*.key")]
    assert len(secrets) == 2 + 3 + 2 + 1
    assert not any(secret in told for secret in secrets)
