"""fedssl as a Flower app: ``flwr run .`` in Flower's simulation, or on a SuperLink's nodes.

    flwr run . CONNECTION --run-config 'config="configs/smoke.yaml" overrides="rounds=5" out="…"'

Each client has its part of the examples that the config names. Use `fedssl serve` and `fedssl join`
for registered keys, restarts and devices with their own examples.
"""

import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.flower_adapter.simulation import is_simulated
from clients.flower_context import ROOT, split_overrides
from fedssl.base.config_file import ConfigError
from simulations.engines.flower import DeviceGrid
from simulations.engines.roster import FixedRoster
from simulations.progress.display import LineDisplay
from simulations.progress.terminal import Terminal
from simulations.record.run_folder import RunFolder, new_folder
from simulations.server.rounds import find_checkpoint, run_rounds
from simulations.settings.engines import FlowerConfig
from simulations.settings.experiment import load_experiment
from simulations.setup.prepare import prepare

app = ServerApp()

SETTLED_SECONDS = 1.0
"""The seconds without a new node after which a simulation, which starts with the app, is ready."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment that the run's config names.

    Raises
    ------
    ConfigError
        The config cannot be used, or the simulation has too few nodes for its clients.
    RunError
        There are too few clients, or every client of a round failed.
    """
    config = {key: str(value) for key, value in context.run_config.items()}
    path = ROOT / config["config"]
    experiment = load_experiment(path, split_overrides(config["overrides"]))
    if not isinstance(experiment.engine, FlowerConfig):
        experiment = experiment.model_copy(update={"engine": FlowerConfig()})
    prepared = prepare(experiment)
    check_simulation(grid, prepared.partition.clients)
    folder = RunFolder(Path(config["out"]) if config["out"] else new_folder(path.stem))
    display = LineDisplay(Terminal(width=120))
    with folder.lock(display.on_message):
        checkpoint = find_checkpoint(folder, prepared.experiment, resume=False)
        engine = prepared.experiment.engine
        assert isinstance(engine, FlowerConfig)
        devices = DeviceGrid(
            grid, engine, FixedRoster(range(prepared.partition.clients)), display.on_message
        )
        devices.wait_for_clients()
        finished = run_rounds(prepared, devices, folder, checkpoint, display=display)
    display.on_message(f"report: {finished.folder.absolute() / 'report.html'}")


def check_simulation(grid: Grid, clients: int) -> None:
    """Refuse a simulation with fewer nodes than clients, since it never gets more.

    Parameters
    ----------
    grid : Grid
        Flower's Grid. Nothing is checked unless it is that of the simulation.
    clients : int
        The number of clients.

    Raises
    ------
    ConfigError
        There are too few nodes; the message says what to give to ``flwr run``.
    """
    if not is_simulated(grid):
        return
    nodes_before = 0
    while (nodes := len(list(grid.get_node_ids()))) != nodes_before or not nodes:
        nodes_before = nodes
        time.sleep(SETTLED_SECONDS)
    if nodes < clients:
        raise ConfigError(
            f"partition.clients = {clients}: Flower simulates only {nodes} SuperNode(s); give "
            f'--federation-config "num-supernodes={clients} client-resources-num-cpus=1" to flwr '
            f"run, or --run-config 'overrides=\"partition.clients={nodes}\"'"
        )
