"""All of a federation on one machine: the engine `flower` of `fedssl run`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from clients.child import Child
from clients.reaching import free_port
from fedssl.temporary import temporary_folder
from simulations.deployment.key_record import KeyRecord
from simulations.deployment.pki import ServerKeys, make_pki
from simulations.deployment.roster import KeyRoster
from simulations.deployment.served import served
from simulations.deployment.superlink import Ports
from simulations.engines import FlowerConfig
from simulations.engines.flower import DeviceGrid
from simulations.prepare import Prepared
from simulations.run_folder import RunFolder

JOIN = "simulations.cli:app"


@contextmanager
def rehearsal(
    prepared: Prepared, engine: FlowerConfig, folder: RunFolder, said: Callable[[str], None]
) -> Iterator[DeviceGrid]:
    """Run server and clients, with keys of their own that end with the run.

    Each client is what `fedssl join` is on a device, with the examples that the partition gives it.
    The SuperLink and the clients' logs, and what clients keep, lie in the run's ``federation/``.

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
        ports = Ports(free_port())
        roster = KeyRoster(keys, KeyRecord(temporary / "keys.json"), said)
        grid = stack.enter_context(served(prepared, keys, roster, ports, folder, said))
        for client in range(count):
            own = prepared.splits.train.take(prepared.partition.indices(client))
            name = temporary / f"examples-{client}"
            examples = prepared.blueprint.modality.write_device(own, name)
            arguments = [
                *("join", "--server", f"localhost:{ports.fleet}"),
                *("--pki", str(keys.client(client).folder), "--examples", str(examples)),
                *("--state", str(folder.federation / f"client-{client}")),
                *("--device", engine.device),
            ]
            log = folder.federation / f"client-{client}.log"
            stack.enter_context(Child(JOIN, arguments, log))
        grid.wait_for_clients()
        yield grid
