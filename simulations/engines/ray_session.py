"""Ray around an experiment: started or joined before it, with room for its workers, ended after."""

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
from simulations.engines.ray_errors import last_words
from simulations.errors import EngineLostError
from simulations.settings.engines import RayConfig
from simulations.settings.resources import choose_workers

CONNECT_SECONDS = 5.0
"""How long a cluster may take to answer."""
RESERVE_SECONDS = 30.0
"""How long to wait until a cluster has room that others use now."""
LEAVE_SECONDS, LOST_SECONDS = 60.0, 8.0
"""How long Ray may take to end, and where the cluster is lost: if its head hangs, for good."""
LEAST_STORE = 80_000_000
"""Ray wants at least so many bytes of shared memory."""

Place = Mapping[str, Any]
"""Ray's options for one worker: what it takes, and where it is reserved."""

# Ray reports its use over the network unless told not to; the other is its new default, and ends a
# warning about the old one.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def session(engine: RayConfig, threads: int, store: int) -> Iterator[list[Place]]:
    """Start a Ray of our own or join a cluster, and leave no process of ours behind.

    Parameters
    ----------
    engine : RayConfig
        Resolved.
    threads : int
        ``client.threads``.
    store : int
        The bytes of shared memory that a Ray of our own needs.

    Yields
    ------
    list[Place]
        A place for each worker, reserved.

    Raises
    ------
    ConfigError
        There is no such cluster, or less room than asked for.
    """
    if ray.is_initialized():
        raise ConfigError(
            "engine.name = ray: Ray is in use in this process already; call ray.shutdown() first, "
            "and give engine.address to run on a cluster"
        )
    with ExitStack() as ending:
        if engine.address is None:
            # Short, for the names of sockets have little room; and apart from Ray's own folder, so
            # that nobody else finds this Ray and joins it.
            folder = temporary_folder("ray-", "/tmp" if os.name == "posix" else None)
            # Within it, for Ray lets everybody write to the one that it is given.
            where = str(ending.enter_context(folder) / "ray")
            ending.enter_context(_left())
            _start(engine, threads, store, where)
        else:
            ending.enter_context(_left())
            _join(engine.address)
            if os.name == "posix":
                ending.enter_context(last_words(_socket()))
        ray_private.silence()
        yield _reserve(engine, threads)


@contextmanager
def _left() -> Iterator[None]:
    """End what we started of Ray, or leave the cluster; give up on one that hangs."""
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
            # Whatever RAY_ADDRESS says.
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
    """Return where Ray listens on this machine."""
    here = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return next(str(node["RayletSocketName"]) for node in nodes if node["NodeID"] == here)


def _reserve(engine: RayConfig, threads: int) -> list[Place]:
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
