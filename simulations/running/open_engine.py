"""Open the engine that a config names."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from clients import ClientRuntime, make_client_app
from fedssl.base import allocator
from fedssl.base.config_file import ConfigError
from simulations.deployment.rehearsal import rehearsal
from simulations.engines.engine import Engine
from simulations.engines.local import LocalGrid
from simulations.progress.display import Display
from simulations.record.run_folder import RunFolder
from simulations.settings.engines import FlowerConfig, LocalConfig, RayConfig
from simulations.setup.prepare import Prepared


def open_engine(
    prepared: Prepared, folder: RunFolder, display: Display
) -> AbstractContextManager[Engine]:
    """Return a context that opens the engine of a config, and closes it at the end.

    Entering it raises a ConfigError where this machine lacks something that the engine needs.
    """
    engine = prepared.experiment.engine
    match engine:
        case LocalConfig():
            return _local(prepared, engine)
        case RayConfig():
            return _ray(prepared, display)
        case FlowerConfig():
            return rehearsal(prepared, engine, folder, display.on_message)
    raise AssertionError(engine)


@contextmanager
def _local(prepared: Prepared, engine: LocalConfig) -> Iterator[Engine]:
    runtime = ClientRuntime(
        prepared.experiment,
        prepared.splits.train,
        prepared.partition,
        torch.device(engine.device),
    )
    app = make_client_app(lambda _: runtime)
    grid = LocalGrid(app, prepared.partition.clients, engine.workers or 1)
    try:
        yield grid
    finally:
        runtime.stop.set()
        grid.close()
        allocator.release_spare_blocks()


def _ray(prepared: Prepared, display: Display) -> AbstractContextManager[Engine]:
    # Imported only when needed: it is slow to import, and not available for every system.
    try:
        from simulations.engines.ray import ray_grid
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ConfigError(
            "engine.name = ray: Ray is not installed; pip install 'flwr[simulation]>=1.39,<1.40'"
        ) from error
    return ray_grid(prepared, display.on_message)
