"""fedssl as a Flower app: ``flwr run .`` in Flower's simulation, or on a SuperLink's nodes.

    flwr run . CONNECTION --run-config 'config="configs/smoke.yaml" overrides="rounds=5" out="…"'

Each client has its part of the examples that the config names. Keys, restarts and devices with
examples of their own are the business of `fedssl serve` and `fedssl join`.
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
from simulations.progress.display import Lines
from simulations.progress.terminal import Terminal
from simulations.record.run_folder import RunFolder, new_folder
from simulations.server.rounds import carry_out, find
from simulations.settings.engines import FlowerConfig
from simulations.settings.experiment import load_experiment
from simulations.setup.prepare import prepare

app = ServerApp()

SETTLED_SECONDS = 1.0
"""For how long a simulation's nodes must not become more: it begins together with the app."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment that the run's config names.

    Raises
    ------
    ConfigError
        The config cannot be used, or the simulation has too few nodes for its clients.
    RunError
        Too few clients, or each of a round's failed.
    """
    config = {key: str(value) for key, value in context.run_config.items()}
    path = ROOT / config["config"]
    experiment = load_experiment(path, split_overrides(config["overrides"]))
    if not isinstance(experiment.engine, FlowerConfig):
        experiment = experiment.model_copy(update={"engine": FlowerConfig()})
    prepared = prepare(experiment)
    check_simulation(grid, prepared.partition.clients)
    folder = RunFolder(Path(config["out"]) if config["out"] else new_folder(path.stem))
    display = Lines(Terminal(width=120))
    with folder.locked(display.said):
        found = find(folder, prepared.experiment, resume=False)
        engine = prepared.experiment.engine
        assert isinstance(engine, FlowerConfig)
        devices = DeviceGrid(
            grid, engine, FixedRoster(range(prepared.partition.clients)), display.said
        )
        devices.wait_for_clients()
        done = carry_out(prepared, devices, folder, found, display=display)
    display.said(f"report: {done.folder.absolute() / 'report.html'}")


def check_simulation(grid: Grid, clients: int) -> None:
    """Refuse a simulation that has fewer nodes than there are clients: no more would come.

    Parameters
    ----------
    grid : Grid
        Flower's own. Nothing is checked unless it is the simulation's.
    clients : int
        How many there are.

    Raises
    ------
    ConfigError
        Says what to give to ``flwr run``.
    """
    if not is_simulated(grid):
        return
    before = 0
    while (nodes := len(list(grid.get_node_ids()))) != before or not nodes:
        before = nodes
        time.sleep(SETTLED_SECONDS)
    if nodes < clients:
        raise ConfigError(
            f"partition.clients = {clients}: Flower simulates only {nodes} SuperNode(s); give "
            f'--federation-config "num-supernodes={clients} client-resources-num-cpus=1" to flwr '
            f"run, or --run-config 'overrides=\"partition.clients={nodes}\"'"
        )
