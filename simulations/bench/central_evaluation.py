"""The cost of the central evaluation: against a bare forward loop, and against a round."""

import time
from collections.abc import Callable

import torch

from fedssl.base.allocator import keep_freed_memory
from fedssl.evaluation.features import extract
from fedssl.evaluation.knn import predict_knn
from fedssl.evaluation.linear import fit_linear
from fedssl.evaluation.parallel import one_thread
from fedssl.evaluation.rankme import rankme
from fedssl.modalities import load
from fedssl.model_state import clone, federated_state
from simulations.bench.measurement import Measurement, Target
from simulations.bench.setting import blueprint, encoder, experiment, images, worker
from simulations.bench.timing import compare, cpu_seconds

CLIENTS, IMAGES_EACH = 10, 500
"""The number of clients of configs/cifar10-small.yaml, and of each one's images."""


def features(count: int, times: int) -> list[Measurement]:
    """Measure the extraction of features against a bare loop over the encoder.

    Both use all cores, ours with a batch on each core and the loop with one batch on all, so the
    time is wall time.
    """
    keep_freed_memory()
    shown = images(count)
    preparation = blueprint(experiment()).preparation
    model = encoder("convnet").eval()

    @torch.no_grad()
    def bare() -> None:
        torch.cat([model(preparation(rows)) for rows in torch.split(shown, 256)])

    def wall_seconds(work: Callable[[], object]) -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return [
        compare(
            f"features of {count:,} images, convnet, all cores",
            "s",
            lambda: wall_seconds(lambda: extract(model, shown, preparation)),
            lambda: wall_seconds(bare),
            times=times,
            target=Target(1.1, at_least=False, of_ratio=True),
            note="a bare loop over the encoder",
        )
    ]


def measures(train: int, test: int, times: int) -> list[Measurement]:
    """Measure probe, kNN and RankMe on features against a round of configs/cifar10-small.yaml.

    The features are those of the built-in images, by an untrained encoder.
    """
    keep_freed_memory()
    config = experiment(
        data={"name": "glyphs", "limit": {"train": train, "test": test}},
        client={"batch_size": 64},
    )
    resident = worker(config)
    received = clone(federated_state(resident.objective))
    shown = images(IMAGES_EACH)
    splits = load(config.data)
    trained, preparation = resident.objective.encoder, resident.blueprint.preparation
    bank, queries = (
        extract(trained, part.fetch(), preparation) for part in (splits.train, splits.test)
    )
    labels, evaluation = splits.train.labels, config.evaluation

    def measure() -> None:
        fit_linear(bank, labels, evaluation.l2).predict(queries)
        predict_knn(bank, labels, queries, evaluation.knn_k, evaluation.knn_temperature)
        rankme(queries)

    def client() -> None:
        resident.run(shown, torch.full((IMAGES_EACH,), -1), received, {}, client=0, server_round=1)

    with one_thread():
        return [
            compare(
                f"probe, kNN and RankMe on {train:,} + {test:,} features",
                "CPU-s",
                lambda: cpu_seconds(measure),
                lambda: CLIENTS * cpu_seconds(client),
                times=times,
                target=Target(0.05, at_least=False, of_ratio=True),
                note="a round of configs/cifar10-small.yaml (ten times one client)",
            )
        ]
