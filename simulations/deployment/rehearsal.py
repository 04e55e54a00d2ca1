"""Rehearse a federation on one machine: the engine `flower` of `fedssl run`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clients.child_process import ChildProcess
from clients.network import find_free_port
from fedssl.base.temporary import temporary_folder
from simulations.deployment.device_engine import open_device_engine
from simulations.deployment.key_record import KeyRecord
from simulations.deployment.key_roster import KeyRoster
from simulations.deployment.pki import ServerKeys, make_pki
from simulations.deployment.superlink import Ports
from simulations.engines.flower import DeviceGrid
from simulations.errors import RunError
from simulations.record.run_folder import RunFolder
from simulations.settings.engines import FlowerConfig
from simulations.settings.own_code import dotted_paths
from simulations.setup.prepare import Prepared
from strategies import FoldingStrategy
from strategies import build as build_strategy

JOIN = "simulations.cli:app"


@contextmanager
def rehearsal(
    prepared: Prepared, engine: FlowerConfig, folder: RunFolder, on_message: Callable[[str], None]
) -> Iterator[DeviceGrid]:
    """Return a context in which server and clients run on this machine, with temporary keys.

    Each client is a process of `fedssl join`, with the examples that the partition gives it. The
    logs of the SuperLink and the clients, and the clients' states, are in the run's
    ``federation/``.

    Raises
    ------
    RunError
        The SuperLink did not start, or the clients did not.
    """
    count = prepared.partition.clients
    with ExitStack() as stack:
        temporary = stack.enter_context(temporary_folder())
        keys = ServerKeys(temporary / "pki")
        make_pki(keys.folder, count, [])
        ports = Ports(find_free_port())
        allowed = [
            argument for module in _own_modules(prepared) for argument in ("--allow", module)
        ]
        roster = KeyRoster(keys, KeyRecord(temporary / "keys.json"), on_message)
        grid = stack.enter_context(
            open_device_engine(prepared, keys, roster, ports, folder, on_message)
        )
        children: dict[Path, ChildProcess] = {}
        for client in range(count):
            client_examples = prepared.splits.train.take(prepared.partition.indices(client))
            name = temporary / f"examples-{client}"
            examples = prepared.blueprint.modality.write_device(client_examples, name)
            arguments = [
                *("join", "--server", f"localhost:{ports.fleet}"),
                *("--pki", str(keys.client(client).folder), "--examples", str(examples)),
                *("--state", str(folder.federation / f"client-{client}")),
                *("--device", engine.device),
                *allowed,
            ]
            log = folder.federation / f"client-{client}.log"
            children[log] = stack.enter_context(ChildProcess(JOIN, arguments, log))
        grid.wait_for_clients(lambda: _check_alive(children))
        yield grid


def _check_alive(children: Mapping[Path, ChildProcess]) -> None:
    """Raise a RunError where a client ended before it took part: nothing restarts it."""
    for log, child in children.items():
        if child.ended:
            last_line = child.last_lines[-1:] or ["it said nothing"]
            raise RunError(f"{log.stem} ended before the first round: {last_line[0]}; see {log}")


def _own_modules(prepared: Prepared) -> list[str]:
    """Return the modules outside this package that the clients of a rehearsal may import."""
    experiment = prepared.experiment
    strategy = build_strategy(experiment.strategy, prepared.blueprint.facts.parts)
    rules = strategy.rules(1) if isinstance(strategy, FoldingStrategy) else ()
    paths = [path for _, path in dotted_paths(experiment)] + [rule.name for rule in rules]
    return sorted({module for path in paths if (module := path.rpartition(".")[0])})
