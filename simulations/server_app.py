"""fedssl as a Flower app: ``flwr run . CONNECTION``.

    flwr run . --run-config 'config="configs/smoke.yaml" overrides="rounds=5" out="/srv/runs/first"'

Each client has its part of the images that the config names. Keys, restarts and devices with images
of their own are the business of `fedssl serve` and `fedssl join`.
"""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.finding import ROOT, overrides_of
from simulations.display import Lines
from simulations.engines import FlowerConfig
from simulations.engines.flower import DeviceGrid
from simulations.engines.roster import FixedRoster
from simulations.experiment import load_experiment
from simulations.prepare import prepare
from simulations.run_folder import RunFolder, new_folder
from simulations.runner import carry_out, find
from simulations.terminal import Terminal

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment that the run's config names.

    Raises
    ------
    ConfigError
        The config cannot be used.
    RunError
        Too few clients, or each of a round's failed.
    """
    config = {key: str(value) for key, value in context.run_config.items()}
    path = ROOT / config["config"]
    experiment = load_experiment(path, overrides_of(config["overrides"]))
    if not isinstance(experiment.engine, FlowerConfig):
        experiment = experiment.model_copy(update={"engine": FlowerConfig()})
    prepared = prepare(experiment)
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
