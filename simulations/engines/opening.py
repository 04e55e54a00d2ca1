"""Open the engine that a config names: a Grid with what each client keeps, closed at the end."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from clients import ClientRuntime, make_client_app
from fedssl import memory
from fedssl.config_file import ConfigError
from simulations.engines import LocalConfig
from simulations.engines.local import LocalGrid
from simulations.prepare import Prepared


def open_engine(prepared: Prepared) -> AbstractContextManager[LocalGrid]:
    """Set up the engine of a prepared experiment.

    Raises
    ------
    ConfigError
        The engine lacks something here; nothing was run.
    """
    return _OPEN[prepared.experiment.engine.name](prepared)


@contextmanager
def _local(prepared: Prepared) -> Iterator[LocalGrid]:
    engine = prepared.experiment.engine
    assert isinstance(engine, LocalConfig)
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
        memory.release()


def _ray(prepared: Prepared) -> AbstractContextManager[LocalGrid]:
    # Only here, since it takes a while to import, and is not there for every system.
    try:
        from simulations.engines.ray import ray_grid
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ConfigError(
            "engine.name = ray: Ray is not installed; pip install 'flwr[simulation]>=1.39,<1.40'"
        ) from error
    return ray_grid(prepared)


_OPEN: dict[str, Callable[[Prepared], AbstractContextManager[LocalGrid]]] = {
    "local": _local,
    "ray": _ray,
}
