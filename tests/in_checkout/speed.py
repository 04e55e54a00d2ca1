"""Measure the CPU time that pieces of work take with a checkout's code."""

import gc
import importlib
import inspect
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import torch

Work = Callable[[], object]

AFTER_WARMUP = 10
"""A round in which every strategy merges by its own rule."""
START = "start with a million clients"
"""It takes seconds, so it is not done once before to warm up."""
REPEATS = 3
"""How often a short piece of work is done, of which the least counts: what else the machine does
only adds."""
OPEN = ExitStack()
"""Servers that stay open until the process ends."""


def first_of(*names: str) -> Any:
    """Return a module by the first of its names that the checkout has: some have moved."""
    for name in names:
        with suppress(ModuleNotFoundError):
            return importlib.import_module(name)
    raise LookupError(f"none of {', '.join(names)}")


def bench(module: str) -> Any:
    """Return a module of the bench."""
    return first_of(f"simulations.bench.{module}", f"tests.benchmarks.{module}")


def client_round(strategy: str, encoder: str, clients: int, **evaluation: Any) -> Work:
    """Return a round of clients that answer with the model that they were sent."""
    setting = bench("setting")
    config = setting.experiment(
        model={"encoder": encoder},
        strategy={"name": strategy},
        evaluation={"every": setting.NEVER, **evaluation},
    )
    server = OPEN.enter_context(setting.idle_server(config, clients))
    return lambda: server.train(AFTER_WARMUP, list(range(clients)))


def wide_round() -> Work:
    """Return the round of a model of 10 million parameters."""
    return client_round("fedavg", f"{bench('costs').__name__}.wide_10m", 5)


def local_update(encoder: str, side: int, count: int, objective: str = "simclr") -> Work:
    """Return a local update of one client."""
    setting, state = bench("setting"), first_of("fedssl.model_state", "fedssl.state")
    config = setting.experiment(
        model={"encoder": encoder}, client={"batch_size": 64}, objective={"name": objective}
    )
    worker = setting.worker(config, side)
    shown, labels = setting.images(count, side), torch.full((count,), -1)
    received = state.clone(state.federated_state(worker.objective))
    renamed = "server_round" in inspect.signature(worker.run).parameters
    which: dict[str, int] = {"client": 0, "server_round" if renamed else "round": 1}
    return lambda: worker.run(shown, labels, received, {}, **which)


def views(policy: str, count: int) -> Work:
    """Return the making of two views of each image by a policy."""
    setting, seeding = bench("setting"), first_of("fedssl.base.seeding", "fedssl.seeding")
    recipe = setting.worker(setting.experiment(views=policy)).views
    shown, draws = setting.images(count), seeding.generator(0, "bench views")

    def work() -> None:
        for batch in torch.split(shown, 256):
            recipe(batch, draws)
            recipe(batch, draws, 2)

    return work


def features(encoder: str, count: int) -> Work:
    """Return the extraction of images' features."""
    setting = bench("setting")
    config = setting.experiment(model={"encoder": encoder})
    worker, shown = setting.worker(config), setting.images(count)
    extract = importlib.import_module("fedssl.evaluation.features").extract
    if hasattr(worker, "blueprint"):
        given: tuple[Any, ...] = (worker.blueprint.preparation,)
    else:
        given = (config.data.mean, config.data.std)
    return lambda: extract(worker.objective.encoder, shown, *given)


def build() -> Work:
    """Return the making of a worker, which builds a model."""
    setting = bench("setting")
    config = setting.experiment(model={"encoder": "resnet18"})
    return lambda: setting.worker(config)


WORKS: dict[str, Callable[[], Work]] = {
    "client-round, resnet18, FedAvg": lambda: client_round("fedavg", "resnet18", 5),
    "client-round, resnet18, L-DAWA": lambda: client_round("ldawa", "resnet18", 5),
    "client-round, 10 million parameters": wide_round,
    "client-round, convnet": lambda: client_round("fedavg", "convnet", 30),
    "local update, convnet, 32×32": lambda: local_update("convnet", 32, 32),
    "local update, convnet, 96×96": lambda: local_update("convnet", 96, 4),
    "local update, resnet18, 32×32": lambda: local_update("resnet18", 32, 2),
    "local update, BYOL, convnet": lambda: local_update("convnet", 32, 32, "byol"),
    "views, simclr": lambda: views("simclr", 1_000),
    "views, byol": lambda: views("byol", 800),
    "features, convnet": lambda: features("convnet", 256),
    "features, resnet18": lambda: features("resnet18", 8),
    "model is built, resnet18": build,
    START: lambda: bench("million")._start,
}
"""What is measured: each makes ready, and returns what a measurement does once. They are short, so
that both checkouts have the same luck with whatever else the machine does."""

ready: dict[str, Work] = {}


def answer(question: dict[str, str]) -> object:
    """Return the names of all works, or the CPU seconds that one takes this time."""
    if question["what"] == "names":
        return list(WORKS)
    name = question["name"]
    if name not in ready:
        # One at a time is kept, so that no work runs among what another needs.
        ready.clear()
        OPEN.close()
        _settle()
        ready[name] = WORKS[name]()
        if name != START:
            ready[name]()
    gc.collect()
    return min(_cpu_seconds(ready[name]) for _ in range(1 if name == START else REPEATS))


def _cpu_seconds(work: Work) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _settle() -> None:
    """Keep to one core and one thread, and what is freed in this process."""
    if hasattr(os, "sched_setaffinity"):
        # Threads that hand work to each other over two cores take more CPU time, at times.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    first_of("fedssl.base.allocator", "fedssl.memory").keep_freed_memory()
