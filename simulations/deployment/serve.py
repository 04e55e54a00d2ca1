"""Serve an experiment to devices: `fedssl serve`."""

from dataclasses import replace
from pathlib import Path

from fedssl.config_file import ConfigError
from fedssl.partitions import Partition
from simulations.deployment.pki import ServerKeys
from simulations.deployment.served import served
from simulations.deployment.superlink import Ports
from simulations.display import Display
from simulations.engines import FlowerConfig
from simulations.experiment import Experiment
from simulations.notes import check_skipped, lines
from simulations.prepare import prepare_server
from simulations.run_folder import RunFolder
from simulations.runner import Run, carry_out, find


def serve(
    experiment: Experiment,
    out: str | Path,
    keys: ServerKeys,
    ports: Ports,
    *,
    resume: bool = False,
    display: Display,
) -> Run:
    """Run an experiment whose clients are devices.

    Parameters
    ----------
    experiment : Experiment
        Its images are those of the central evaluation; its clients are as many as there are keys.
        An engine other than `flower` is taken for that one with its defaults.
    out : str | Path
        The run's folder, as for `simulations.run`.
    keys : ServerKeys
        The server's certificate and the clients' public keys.
    ports : Ports
        Where to listen.
    resume : bool
        Go on after the last finished round in ``out``.
    display : Display
        Shows the progress, who comes and who is lost.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    ConfigError
        The config, a key or a port cannot be used, or another process writes to ``out``; nothing
        was written.
    RunError
        Too few clients for too long; the rounds before can be resumed.
    """
    if not isinstance(experiment.engine, FlowerConfig):
        engine = FlowerConfig(device=experiment.engine.device)
        experiment = experiment.model_copy(update={"engine": engine})
    keys.check()
    for warning in keys.warnings():
        display.said(warning)
    clients = len(keys.public_keys())
    _check_number(experiment.partition.clients, clients)
    ports.check()
    folder = RunFolder(Path(out))
    with folder.locked(display.said):
        prepared = prepare_server(experiment, clients)
        found = find(folder, prepared.experiment, resume, display.said)
        if found:
            check_skipped(folder.path, prepared)
        for line in lines(prepared):
            display.said(line)
        with served(prepared, keys, ports, folder, display.said) as grid:
            grid.wait_for_clients()
            sizes = [grid.sizes.get(client, 0) for client in range(prepared.partition.clients)]
            there = replace(prepared, partition=Partition.of_sizes(sizes))
            return carry_out(there, grid, folder, found, display=display)


def _check_number(clients: int | None, keys: int) -> None:
    if clients not in (None, keys):
        raise ConfigError(
            f"partition.clients = {clients}: there are the keys of {keys} clients; give "
            f"partition.clients={keys}, or make keys by fedssl certs"
        )
