"""The engine `flower` over a SuperLink of its own."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

from clients.device import write_learning
from clients.message_handler import LEARNING, RUN, VERSIONS
from clients.versions import list_versions
from simulations.deployment.pki import ServerKeys
from simulations.deployment.roster import KeyRoster
from simulations.deployment.superlink import Ports, superlink
from simulations.deployment.trouble import Trouble
from simulations.engines.flower import DeviceGrid
from simulations.progress.watcher import Nobody, Watcher
from simulations.record.run_folder import RunFolder
from simulations.settings.engines import FlowerConfig
from simulations.setup.prepare import Prepared


@contextmanager
def served(
    prepared: Prepared,
    keys: ServerKeys,
    roster: KeyRoster,
    ports: Ports,
    folder: RunFolder,
    said: Callable[[str], None],
    watcher: Watcher | None = None,
) -> Iterator[DeviceGrid]:
    """Run the SuperLink, and yield the engine that reaches its clients."""
    experiment = prepared.experiment
    assert isinstance(experiment.engine, FlowerConfig)
    config = {
        LEARNING: write_learning(prepared.blueprint),
        RUN: folder.run_name(),
        VERSIONS: json.dumps(list_versions()),
    }
    log = folder.federation / "superlink.log"
    trouble = Trouble(said, watcher or Nobody())
    with superlink(keys, roster, ports, version("fedssl"), config, log, trouble) as flower:
        said(f"listening on port {ports.fleet}; the log is {log}")
        yield DeviceGrid(flower, experiment.engine, roster, said, watcher)
