"""A Ray session for an experiment: start or join a cluster, and reserve resources for workers."""

import atexit
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
import torch
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from fedssl.base.config_file import ConfigError
from fedssl.base.temporary import temporary_folder
from simulations.engines import ray_private
from simulations.engines.ray_errors import report_ray_exit
from simulations.errors import EngineLostError
from simulations.settings.engines import RayConfig
from simulations.settings.resources import choose_workers

CONNECT_SECONDS = 5.0
"""The seconds that a cluster has to answer."""
RESERVE_SECONDS = 30.0
"""The seconds to wait for resources that others use now."""
LEAVE_SECONDS, LOST_SECONDS = 60.0, 8.0
"""The seconds that Ray has to end; fewer where the cluster is lost, since it may hang forever."""
LEAST_STORE = 80_000_000
"""The least bytes of shared memory that Ray accepts."""

WorkerSlot = Mapping[str, Any]
"""Ray's options for one worker: its resources, and where they are reserved."""

# Ray reports its use over the network unless told not to; the other is its new default, and ends a
# warning about the old one.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def session(engine: RayConfig, threads: int, store: int) -> Iterator[list[WorkerSlot]]:
    """Start Ray on this machine or join a cluster; at the end leave no process behind.

    Parameters
    ----------
    engine : RayConfig
        The resolved ``engine`` section.
    threads : int
        ``client.threads``.
    store : int
        The bytes of shared memory that Ray needs where it is started here.

    Yields
    ------
    list[WorkerSlot]
        The reserved resources of each worker.

    Raises
    ------
    ConfigError
        There is no such cluster, or it has fewer resources than requested.
    """
    if ray.is_initialized():
        raise ConfigError(
            "engine.name = ray: Ray is in use in this process already; call ray.shutdown() first, "
            "and give engine.address to run on a cluster"
        )
    with ExitStack() as ending:
        if engine.address is None:
            # Short, since a socket's path is limited; and not Ray's usual folder, so that no other
            # program finds this Ray and joins it.
            folder = temporary_folder("ray-", "/tmp" if os.name == "posix" else None)
            # A folder within it, since Ray makes the one that it is given writable for everybody.
            where = str(ending.enter_context(folder) / "ray")
            ending.enter_context(_end_session())
            _start(engine, threads, store, where)
        else:
            ending.enter_context(_end_session())
            _join(engine.address)
            if os.name == "posix":
                ending.enter_context(report_ray_exit(_socket()))
        ray_private.silence()
        yield _reserve(engine, threads)


@contextmanager
def _end_session() -> Iterator[None]:
    """Return a context that ends Ray or leaves the cluster; one that hangs is given up."""
    seconds = LEAVE_SECONDS
    try:
        yield
    except EngineLostError:
        seconds = LOST_SECONDS
        raise
    finally:
        leaving = threading.Thread(target=ray.shutdown, name="ray-leaving", daemon=True)
        leaving.start()
        leaving.join(seconds)
        if leaving.is_alive():
            # At the end of this process Ray would wait once more, or crash it.
            atexit.unregister(ray.shutdown)
            atexit.register(_end)


def _end() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1)


def _start(engine: RayConfig, threads: int, store: int, folder: str) -> None:
    assert engine.workers is not None
    try:
        ray.init(
            # Not the address that the environment variable RAY_ADDRESS names.
            address="local",
            # Ray starts a process for each before it is asked to, so no more than are needed.
            num_cpus=engine.workers * threads,
            num_gpus=torch.cuda.device_count() if engine.gpus_per_worker else 0,
            object_store_memory=max(store, LEAST_STORE),
            include_dashboard=False,
            _temp_dir=folder,
            **QUIET,
        )
    except (ValueError, OSError, RuntimeError) as error:
        raise ConfigError(f"engine.name = ray: Ray cannot be started: {error}") from error


def _join(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        # Ray itself would try for minutes, and then end this process.
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        ray.init(address=address, **QUIET)
    except (ValueError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"engine.address = {address}: cannot join a Ray cluster there: {error}; start one with "
            "`ray start --head` and give the address that it prints, or null"
        ) from error


def _socket() -> str:
    """Return the path of the socket on which Ray listens on this machine."""
    here = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return next(str(node["RayletSocketName"]) for node in nodes if node["NodeID"] == here)


def _reserve(engine: RayConfig, threads: int) -> list[WorkerSlot]:
    gpus = engine.gpus_per_worker
    assert gpus is not None
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    where = "this machine" if engine.address is None else f"the cluster at {engine.address}"
    workers = choose_workers(engine.workers, machines, threads, gpus, where)
    takes = {"CPU": threads, "GPU": gpus} if gpus else {"CPU": threads}
    group = placement_group([takes] * workers)
    if not group.wait(RESERVE_SECONDS):
        free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
        raise ConfigError(
            f"engine.workers = {workers}: {where} has room for them, but others use it: "
            f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs are free; wait, or ask "
            "for less"
        )
    return [
        {
            "num_cpus": threads,
            "num_gpus": gpus,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(group, number),
        }
        for number in range(workers)
    ]
