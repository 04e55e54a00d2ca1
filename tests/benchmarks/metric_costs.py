"""What each measure costs, beside the features: on random features in classes."""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from fedssl.base.seeding import generator
from fedssl.evaluation.alignment import alignment, uniformity
from fedssl.evaluation.augmented import VIEWS as AUGMENTED_VIEWS
from fedssl.evaluation.cka import linear_cka
from fedssl.evaluation.embedding_maps import pca
from fedssl.evaluation.harm import FOLDS, held_out_predictions
from fedssl.evaluation.knn import predict_knn
from fedssl.evaluation.ldawa_paper_probe import EPOCHS, fit_by_sgd
from fedssl.evaluation.lidar import VIEWS, lidar
from fedssl.evaluation.linear import fit_linear
from fedssl.evaluation.parallel import one_thread
from fedssl.evaluation.rankme import rankme
from fedssl.evaluation.retrieval import retrieval
from fedssl.evaluation.risk_decomposition import decompose
from fedssl.evaluation.sslmem import VIEWS as MEMORY_VIEWS
from fedssl.evaluation.sslmem import memorised
from fedssl.evaluation.stratified import stratified
from simulations.bench.measurement import Measurement
from simulations.bench.timing import cpu_seconds, spread

CLASSES = 10
L2 = 1e-3
"""The default of ``evaluation.l2``."""


def features(count: int, width: int, purpose: str) -> tuple[Tensor, Tensor]:
    """Return features [count, width] of overlapping classes, whose variance falls off, and labels.

    So a probe errs, and no direction is like another, as in an encoder's.
    """
    draws, centers = generator(0, purpose), generator(0, "bench classes")
    labels = torch.randint(CLASSES, (count,), generator=draws)
    noise = torch.randn(count, width, generator=draws)
    middle = torch.randn(CLASSES, width, generator=centers)
    return (0.15 * middle[labels] + noise) * torch.arange(1, width + 1) ** -0.5, labels


def each_measure(count: int, width: int, times: int) -> list[Measurement]:
    """Measure every measure on ``count`` features of ``width``, and a fifth as many to test on."""
    bank, labels = features(count, width, "bench features")
    queries, wanted = features(max(2, count // 5), width, "bench queries")
    few_labels = [stratified(labels.numpy(), s, generator(0, "bench sub")) for s in (0.01, 0.1)]
    images, few = max(2, count // VIEWS), max(2, count // MEMORY_VIEWS)
    shown = bank[: images * VIEWS].view(images, VIEWS, width) if count >= 2 * VIEWS else bank[None]
    seen = bank[: few * MEMORY_VIEWS].view(MEMORY_VIEWS, few, width)
    other = bank @ torch.linalg.qr(torch.randn(width, width, generator=generator(0, "turn"))).Q
    crops = [bank + 0.1 * noise for noise in _noises(bank, AUGMENTED_VIEWS)]
    works: dict[str, Callable[[], object]] = {
        "linear": lambda: fit_linear(bank, labels, L2).predict(queries),
        "knn": lambda: predict_knn(bank, labels, queries, 20, 0.07),
        "rankme": lambda: rankme(bank),
        "retrieval": lambda: retrieval(bank, labels, queries, wanted),
        f"paper ({EPOCHS} passes)": lambda: fit_by_sgd(bank, labels, generator(0, "bench paper")),
        f"lidar ({images:,} × {VIEWS})": lambda: lidar(shown),
        "alignment and uniformity": lambda: (alignment(bank, other), uniformity(bank)),
        "cka, a pair": lambda: linear_cka(bank, other),
        "risk": lambda: decompose(bank, labels, queries, wanted, few_labels[1], L2),
        f"harm (1 + {FOLDS} fits)": lambda: (
            fit_linear(bank, labels, L2).predict(queries),
            held_out_predictions(bank, labels, L2, generator(0, "bench folds")),
        ),
        f"sslmem ({MEMORY_VIEWS} × {few:,})": lambda: memorised(seen, seen.flip(0)),
        "map (PCA)": lambda: pca(bank),
        f"augmented ({1 + AUGMENTED_VIEWS} × as many)": lambda: fit_linear(
            torch.cat([bank, *crops]), labels.repeat(1 + AUGMENTED_VIEWS), L2
        ).predict(queries),
        "finetune-head (1 % and 10 %)": lambda: [
            fit_linear(bank[rows], labels[rows], L2).predict(queries) for rows in few_labels
        ],
    }
    with one_thread():
        return [
            _measured(name, work, times, f"{count:,} × {width}") for name, work in works.items()
        ]


def _noises(like: Tensor, count: int) -> list[Tensor]:
    draws = generator(0, "bench crops")
    return [torch.randn(like.shape, generator=draws) for _ in range(count)]


def _measured(name: str, work: Callable[[], object], times: int, size: str) -> Measurement:
    work()
    taken = [cpu_seconds(work) for _ in range(times)]
    return Measurement(
        f"measure {name}, {size} features",
        "CPU-s",
        value=statistics.median(taken),
        spread=spread(taken),
        note="one thread, without extracting the features",
    )
