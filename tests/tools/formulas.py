"""Losses by their formulas, in plain Python."""

import math

from torch import Tensor
from torch.nn import functional as F


def nt_xent_by_formula(
    first: Tensor, second: Tensor, temperature: float, margin: float = 0.0
) -> float:
    views = [*first.tolist(), *second.tolist()]
    count = len(first)

    def cosine(a: list[float], b: list[float]) -> float:
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    total = 0.0
    for i, view in enumerate(views):
        j = (i + count) % (2 * count)
        others = {
            k: math.exp((cosine(view, other) - (margin if k == j else 0)) / temperature)
            for k, other in enumerate(views)
            if k != i
        }
        total -= math.log(others[j] / sum(others.values()))
    return total / (2 * count)


def nnclr_by_formula(neighbour: Tensor, prediction: Tensor, temperature: float) -> float:
    total = 0.0
    for i, n in enumerate(neighbour):
        terms = [
            math.exp(F.cosine_similarity(n, p, dim=0).item() / temperature) for p in prediction
        ]
        total -= math.log(terms[i] / sum(terms))
    return total / len(neighbour)
