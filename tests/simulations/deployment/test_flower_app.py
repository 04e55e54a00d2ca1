"""The repository as a Flower app, under Flower's own commands."""

import hashlib
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from clients.child import Child
from clients.reaching import free_port
from simulations import load_experiment, run
from simulations.deployment.superlink import SUPERLINK

ROOT = Path(__file__).parents[3]
SUPERNODE = "flwr.supernode.cli:flower_supernode"
CONNECTION = """
[superlink]
default = "here"

[superlink.here]
address = "127.0.0.1:{port}"
insecure = true
"""


@pytest.mark.slow
def test_flwr_run_gives_the_bits_of_fedssl_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, fleet = free_port(), free_port()
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(CONNECTION.format(port=port))
    # The apps that Flower unpacks are found by it, too.
    monkeypatch.setenv("FLWR_HOME", str(home))
    link = [
        *("--insecure", "--host", "127.0.0.1", "--port", str(port)),
        *("--fleet-api-type", "grpc-rere", "--fleet-api-address", f"127.0.0.1:{fleet}"),
        "--disable-runtime-dependency-installation",
    ]
    config = [
        'config="configs/smoke.yaml"',
        'overrides="partition.clients=2 rounds=2"',
        f'out="{tmp_path / "flower"}"',
    ]
    command = [str(Path(sys.executable).with_name("flwr")), "run", str(ROOT), "here"]
    with ExitStack() as stack:
        stack.enter_context(Child(SUPERLINK, link, tmp_path / "superlink.log"))
        for node in range(2):
            arguments = ["--insecure", "--superlink", f"127.0.0.1:{fleet}"]
            arguments += ["--port", str(free_port()), "--node-config", f"partition-id={node}"]
            log = tmp_path / f"supernode-{node}.log"
            stack.enter_context(Child(SUPERNODE, arguments, log))
        deadline = time.monotonic() + 240
        while True:
            done = subprocess.run(
                [*command, "--run-config", " ".join(config)],
                capture_output=True,
                text=True,
                env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"},
            )
            if done.returncode == 0:
                break
            assert time.monotonic() < deadline, done.stdout + done.stderr
            time.sleep(1)
        while not (tmp_path / "flower" / "summary.json").exists():
            assert time.monotonic() < deadline, (tmp_path / "superlink.log").read_text()
            time.sleep(0.5)
    experiment = load_experiment(
        ROOT / "configs" / "smoke.yaml", ["partition.clients=2", "rounds=2"]
    )
    run(experiment, tmp_path / "local")
    models = [tmp_path / name / "model.safetensors" for name in ("flower", "local")]
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in models}) == 1
