"""The repository as a Flower app, under Flower's own commands."""

import hashlib
import os
import secrets
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkStateFactory
from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
from flwr.supercore.constant import (
    DEFAULT_SIMULATION_CONFIG,
    FLWR_IN_MEMORY_DB_NAME,
    NOOP_FEDERATION_ID,
)
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid

from clients.child_process import ChildProcess
from clients.flower_adapter.messages import empty_run
from clients.flower_adapter.superlink import COMMAND as SUPERLINK
from clients.network import find_free_port
from simulations import ConfigError, load_experiment, run
from simulations.engines.local import LocalGrid
from simulations.running import server_app
from simulations.running.server_app import check_simulation

ROOT = Path(__file__).parents[3]
SUPERNODE = "flwr.supernode.cli:flower_supernode"
CONNECTION = """
[superlink]
default = "here"

[superlink.here]
address = "127.0.0.1:{port}"
insecure = true
"""


def simulated(nodes: int) -> InMemoryGrid:
    """Make the Grid of Flower's simulation, as Flower does."""
    factory = LinkStateFactory(
        FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory()
    )
    state = factory.state()
    assert isinstance(state, InMemoryLinkState)
    run = replace(empty_run(), primary_task_id=1, federation_id=NOOP_FEDERATION_ID)
    state.run_ids[run.run_id] = RunRecord(run=run)
    state.task_store[1] = Task(task_id=1, run_id=run.run_id)
    for _ in range(nodes):
        key = secrets.token_bytes(32)
        node = state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, heartbeat_interval=1e9)
        state.acknowledge_node_heartbeat(node_id=node, heartbeat_interval=1e9)
    grid = InMemoryGrid(factory)
    grid.set_run(run)
    return grid


def test_a_simulation_with_too_few_nodes_is_refused_with_what_to_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_app, "SETTLED_SECONDS", 0)
    with pytest.raises(ConfigError, match=r'clients = 5: .* only 2 .* "num-supernodes=5 '):
        check_simulation(simulated(2), 5)
    check_simulation(simulated(5), 5)
    check_simulation(simulated(6), 5)


def test_nodes_that_may_still_come_are_waited_for() -> None:
    check_simulation(LocalGrid(lambda message, _: message, 2, 1), 5)


def test_what_flwr_run_runs_has_as_many_clients_as_flower_simulates() -> None:
    app = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    experiment = load_experiment(ROOT / app["config"]["config"])
    assert experiment.partition.clients == DEFAULT_SIMULATION_CONFIG.num_supernodes


@pytest.mark.slow
def test_flwr_run_gives_the_bits_of_fedssl_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, fleet = find_free_port(), find_free_port()
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
        stack.enter_context(ChildProcess(SUPERLINK, link, tmp_path / "superlink.log"))
        for node in range(2):
            arguments = ["--insecure", "--superlink", f"127.0.0.1:{fleet}"]
            arguments += ["--port", str(find_free_port()), "--node-config", f"partition-id={node}"]
            log = tmp_path / f"supernode-{node}.log"
            stack.enter_context(ChildProcess(SUPERNODE, arguments, log))
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
