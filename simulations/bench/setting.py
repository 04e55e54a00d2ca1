"""The benchmarks' inputs: random images, and clients that do no local work."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clients import ClientRuntime, make_client_app
from fedssl.base.config_file import validate
from fedssl.base.seeding import generator, seeded_initialisation
from fedssl.data import Dataset, Splits
from fedssl.data.example_spec import ExampleSpec
from fedssl.evaluation.parallel import one_thread
from fedssl.models.blueprint import ModelBlueprint
from fedssl.partitions import Partition
from fedssl.training.local_update import LocalTrainer, TrainingStats
from simulations.engines.local import LocalGrid
from simulations.progress.display import QuietDisplay
from simulations.server.server import Server
from simulations.settings.experiment import Experiment, resolve

NEVER = 1_000_000
"""`evaluation.every` of a run without evaluation."""


def experiment(**sections: Any) -> Experiment:
    """Return a resolved experiment: by default SimCLR on 32×32 images, on the CPU.

    Parameters
    ----------
    **sections : Any
        The config's sections, as in a YAML file.
    """
    values = {
        "rounds": NEVER,
        "data": {"name": "glyphs"},
        "partition": {"name": "iid", "clients": 1},
        "objective": {"name": "simclr"},
        "engine": {"name": "local", "device": "cpu", "workers": 1},
        **sections,
    }
    return resolve(validate(Experiment, values, base=Path(), source="the bench"))


def images(count: int, side: int = 32, seed: int = 0) -> Tensor:
    """Return random images, uint8 [count, 3, side, side].

    They are smooth, so that their colours vary as in photographs.
    """
    rng = generator(seed, "bench images")
    coarse = torch.rand(count, 3, 8, 8, generator=rng)
    fine = torch.nn.functional.interpolate(coarse, side, mode="bilinear", antialias=False)
    return fine.mul_(255).to(torch.uint8)


def blueprint(config: Experiment, side: int = 32) -> ModelBlueprint:
    """Return the blueprint of an experiment's model for images of this side, in pixels."""
    return ModelBlueprint(config, ExampleSpec("image", (3, side, side), "uint8"))


def encoder(name: str) -> nn.Module:
    """Build an encoder for 32×32 images."""
    with seeded_initialisation(0):
        return blueprint(experiment(model={"encoder": name})).build_encoder()


def worker(config: Experiment, side: int = 32, device: str = "cpu") -> LocalTrainer:
    """Return a local trainer with the model of an experiment."""
    return LocalTrainer(blueprint(config, side), torch.device(device), threading.Event())


class IdleTrainer(LocalTrainer):
    """Does all of a local update except the training steps."""

    def _train(self, *given: object, client: int, server_round: int) -> TrainingStats:
        return TrainingStats(steps=1)


class IdleRuntime(ClientRuntime):
    """Clients that return the model that they received."""

    worker_class = IdleTrainer


@contextmanager
def idle_server(config: Experiment, clients: int) -> Iterator[Server]:
    """Set up the server and the engine of an experiment whose clients do no local work.

    Parameters
    ----------
    config : Experiment
        The experiment; only its model, strategy, evaluation and engine matter.
    clients : int
        The number of clients; each has two images of 8×8.
    """
    shown = images(2 * clients, side=8)
    train = Dataset(shown, torch.zeros(len(shown), dtype=torch.int64), ("any",))
    partition = Partition.of(np.arange(2 * clients) // 2, clients)
    runtime = IdleRuntime(config, train, partition, torch.device(config.engine.device))
    workers = getattr(config.engine, "workers", 1)
    grid = LocalGrid(make_client_app(lambda _: runtime), clients, workers)
    with one_thread():
        try:
            yield Server(
                config, runtime.blueprint, Splits(train, train), partition, grid, QuietDisplay()
            )
        finally:
            grid.close()
