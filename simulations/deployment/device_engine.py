"""Open the engine `flower` together with its SuperLink."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

from clients.device import write_learning
from clients.message_handler import LEARNING_KEY, RUN_KEY, VERSIONS_KEY
from clients.versions import list_versions
from simulations.deployment.error_reporter import ErrorReporter
from simulations.deployment.key_roster import KeyRoster
from simulations.deployment.pki import ServerKeys
from simulations.deployment.superlink import Ports, superlink
from simulations.engines.flower import DeviceGrid
from simulations.progress.watcher import SilentWatcher, Watcher
from simulations.record.run_folder import RunFolder
from simulations.settings.engines import FlowerConfig
from simulations.setup.prepare import Prepared


@contextmanager
def open_device_engine(
    prepared: Prepared,
    keys: ServerKeys,
    roster: KeyRoster,
    ports: Ports,
    folder: RunFolder,
    on_message: Callable[[str], None],
    watcher: Watcher | None = None,
) -> Iterator[DeviceGrid]:
    """Return a context in which the SuperLink runs, and yield the engine of its clients."""
    experiment = prepared.experiment
    assert isinstance(experiment.engine, FlowerConfig)
    config = {
        LEARNING_KEY: write_learning(prepared.blueprint),
        RUN_KEY: folder.run_name(),
        VERSIONS_KEY: json.dumps(list_versions()),
    }
    log = folder.federation / "superlink.log"
    on_error = ErrorReporter(on_message, watcher or SilentWatcher())
    with superlink(keys, roster, ports, version("fedssl"), config, log, on_error) as flower:
        on_message(f"listening on port {ports.fleet}; the log is {log}")
        yield DeviceGrid(flower, experiment.engine, roster, on_message, watcher)
