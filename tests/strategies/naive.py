"""Every strategy's formula written out as naive loops in float64: what a round must give."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from strategies import PRESETS
from tests.tools.strategy_models import State, naive_fedavg, naive_rule
from tests.tools.strategy_rounds import PARAMETERS, PARTS, Client

Formula = Callable[[State, Sequence[Client]], State]


def mean(answers: Sequence[Client]) -> State:
    return naive_fedavg([a.state for a in answers], [a.examples for a in answers])


def weighed(answers: Sequence[Client], weights: Sequence[float]) -> State:
    """Σ_k a[k]·w[k] of floats, the maximum of counters; clients of weight 0 are left out."""
    merged = {}
    counting = [a for a, weight in zip(answers, weights, strict=True) if weight]
    for name, first in answers[0].state.items():
        if first.is_floating_point():
            total = torch.zeros_like(first, dtype=torch.float64)
            for answer, weight in zip(answers, weights, strict=True):
                total += weight / sum(weights) * answer.state[name].double()
            merged[name] = total.float()
        else:
            merged[name] = torch.tensor(max(int(a.state[name]) for a in counting))
    return merged


def uniform(g: State, answers: Sequence[Client]) -> State:
    return weighed(answers, [1.0] * len(answers))


def ldawa(preset: str, g: State, answers: Sequence[Client]) -> State:
    states, examples = [a.state for a in answers], [a.examples for a in answers]
    return naive_rule(g, states, examples, PRESETS[preset], PARTS.buffers)


def loss_weighted(g: State, answers: Sequence[Client]) -> State:
    return weighed(answers, [math.exp(-(a.loss - a.chance)) for a in answers])


def by_coordinate(answers: Sequence[Client], rule: Callable[[list[float]], float]) -> State:
    merged = {}
    for name, first in answers[0].state.items():
        rows = [a.state[name].double().flatten().tolist() for a in answers]
        if first.is_floating_point():
            values = [rule(list(column)) for column in zip(*rows, strict=True)]
            merged[name] = torch.tensor(values, dtype=torch.float64).float().reshape(first.shape)
        else:
            merged[name] = torch.tensor(int(max(row[0] for row in rows)))
    return merged


def middle(values: list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def median(g: State, answers: Sequence[Client]) -> State:
    return by_coordinate(answers, middle)


def trimmed_mean(g: State, answers: Sequence[Client], beta: float = 0.2) -> State:
    cut = int(beta * len(answers))

    def rule(values: list[float]) -> float:
        kept = sorted(values)[cut : len(values) - cut]
        return sum(kept) / len(kept)

    return by_coordinate(answers, rule)


def vector(state: State) -> Tensor:
    return torch.cat([state[name].double().flatten() for name in PARAMETERS if name in state])


def krum_ranking(g: State, answers: Sequence[Client], byzantine: int) -> list[int]:
    points = [vector(a.state) for a in answers]
    near = max(1, len(points) - byzantine - 2)

    def key(k: int) -> tuple[float, float, float]:
        gaps = sorted(float((points[k] - p).square().sum()) for j, p in enumerate(points) if j != k)
        own = float((points[k] - vector(g)).square().sum())
        return sum(gaps[:near]), sum(gaps), own

    return sorted(range(len(points)), key=key)


def multikrum(
    g: State, answers: Sequence[Client], byzantine: int = 0, selected: int | None = None
) -> State:
    count = selected or len(answers) - byzantine
    first = krum_ranking(g, answers, byzantine)[:count]
    return weighed([answers[k] for k in sorted(first)], [1.0] * len(first))


def bulyan(g: State, answers: Sequence[Client], byzantine: int = 0) -> State:
    left, picked = list(answers), []
    for _ in range(len(answers) - 2 * byzantine):
        picked.append(left.pop(krum_ranking(g, left, byzantine)[0]))
    kept = len(picked) - 2 * byzantine

    def rule(values: list[float]) -> float:
        centre = middle(values)
        near = sorted(sorted(values), key=lambda value: abs(value - centre))[:kept]
        return sum(near) / kept

    return by_coordinate(picked, rule)


def attack_adaptive(g: State, answers: Sequence[Client], scale: float = 10.0) -> State:
    updates = [vector(a.state) - vector(g) for a in answers]
    centre = torch.tensor([middle(list(c)) for c in torch.stack(updates).T.tolist()]).double()
    weights = [0.0] * len(updates)
    for _ in range(5):
        scores = []
        for update in updates:
            norms = float(update.norm() * centre.norm())
            scores.append(scale * float(update @ centre) / norms if norms else 0.0)
        total = sum(math.exp(score) for score in scores)
        weights = [math.exp(score) / total for score in scores]
        weights = [w if w >= 0.01 / len(updates) else 0.0 for w in weights]
        centre = sum((w * u for w, u in zip(weights, updates, strict=True)), 0 * centre)
    return weighed(answers, weights)


def shares(answers: Sequence[Client]) -> list[float]:
    return [a.examples / sum(b.examples for b in answers) for a in answers]


def moved(g: State, answers: Sequence[Client], step: Callable[[str, Tensor], Tensor]) -> State:
    """The mean by examples, but of parameters g plus what a step makes of the mean update."""
    merged = mean(answers)
    for name in PARAMETERS:
        update = torch.zeros_like(g[name], dtype=torch.float64)
        for share, answer in zip(shares(answers), answers, strict=True):
            update += share * (answer.state[name].double() - g[name].double())
        merged[name] = (g[name].double() + step(name, update)).float()
    return merged


def fedexp(g: State, answers: Sequence[Client], epsilon: float = 1e-3) -> State:
    updates = [vector(a.state) - vector(g) for a in answers]
    pairs = list(zip(shares(answers), updates, strict=True))
    squares = sum(share * float(update.square().sum()) for share, update in pairs)
    mean_update = sum((share * update for share, update in pairs), 0 * updates[0])
    below = 2 * (float(mean_update.square().sum()) + len(answers) * epsilon)
    eta = max(1.0, squares / below)
    return moved(g, answers, lambda name, update: eta * update)


def fedlws(g: State, answers: Sequence[Client]) -> State:
    merged = mean(answers)
    for name in PARAMETERS:
        before, after = g[name].double(), merged[name].double()
        updates = [a.state[name].double() - before for a in answers]
        centre = sum(updates, 0 * before) / len(updates)
        tau = 0.03 * sum(float((u - centre).norm()) for u in updates) / len(updates)
        tau = min(max(tau, 0.01), 0.2)
        norm = float(before.norm())
        gamma = norm / (norm + tau * float((after - before).norm())) if norm else 1.0
        merged[name] = (gamma * after).float()
    return merged


def partial_mean(merges: Callable[[str], bool], g: State, answers: Sequence[Client]) -> State:
    """The mean by examples of some tensors; all others stay as they are."""
    return {name: t if merges(name) else g[name] for name, t in mean(answers).items()}


def adaptive(
    variance: Callable[[float, Tensor], Tensor], beta_1: float, g: State, answers: Sequence[Client]
) -> State:
    """The first round of a server optimiser, whose v begins at τ²."""

    def step(name: str, update: Tensor) -> Tensor:
        v = variance(1e-6, update.square())
        return 0.01 * (1 - beta_1) * update / (v.sqrt() + 1e-3)

    return moved(g, answers, step)


def fedvssl(g: State, answers: Sequence[Client], alpha: float = 0.9) -> State:
    by_loss, by_examples = loss_weighted(g, answers), mean(answers)
    merged = dict(g)
    for name, before in g.items():
        if name.startswith("encoder."):
            merged[name] = by_examples[name]
            if before.is_floating_point():
                mixed = alpha * by_loss[name].double() + (1 - alpha) * by_examples[name].double()
                merged[name] = ((mixed + before.double()) / 2).float()
    return merged


def fednova(g: State, answers: Sequence[Client]) -> State:
    merged = mean(answers)
    steps = sum(p * a.steps for p, a in zip(shares(answers), answers, strict=True))
    for name in PARAMETERS:
        before = g[name].double()
        direction = torch.zeros_like(before)
        for p, answer in zip(shares(answers), answers, strict=True):
            direction += p * (before - answer.state[name].double()) / answer.steps
        merged[name] = (before - steps * direction).float()
    return merged


def elastic(g: State, answers: Sequence[Client], tau: float = 0.5) -> State:
    def step(name: str, update: Tensor) -> Tensor:
        omegas = [a.sensitivity[PARAMETERS.index(name)] for a in answers]
        most = max(omegas)
        if most == 0:
            return update
        average = sum(p * omega for p, omega in zip(shares(answers), omegas, strict=True))
        return (1 + tau - average / most) * update

    return moved(g, answers, step)


def scaffold(g: State, answers: Sequence[Client]) -> State:
    """With a server's step of 1: clients' weights count the same, statistics by examples."""
    weights = {n: torch.stack([a.state[n] for a in answers]).mean(0) for n in PARAMETERS}
    return mean(answers) | weights


def feddyn(g: State, answers: Sequence[Client]) -> State:
    """In the first round, of all clients: h = −α·mean(w − g), and g' = mean w − h/α."""
    plain = scaffold(g, answers)
    return plain | {n: plain[n] + (plain[n] - g[n]) for n in PARAMETERS}


FORMULAS: dict[str, Formula] = {
    "fedavg": lambda g, answers: mean(answers),
    **{preset: partial(ldawa, preset) for preset in PRESETS},
    "loss-weighted": loss_weighted,
    "fedavgm": lambda g, answers: moved(g, answers, lambda name, update: update),
    "fedadam": partial(adaptive, lambda v, square: 0.99 * v + 0.01 * square, 0.9),
    "fedyogi": partial(adaptive, lambda v, square: v - 0.01 * square * (v - square).sign(), 0.9),
    "fedadagrad": partial(adaptive, lambda v, square: v + square, 0.0),
    "fedexp": fedexp,
    "fedlws": fedlws,
    **{
        name: lambda g, answers: mean(answers)
        for name in ("fedprox", "moon", "fedu", "fedema", "fedx")
    },
    "scaffold": scaffold,
    "feddyn": feddyn,
    "fedbn": partial(partial_mean, lambda name: ".bn." not in name),
    "encoder-only": partial(partial_mean, lambda name: name.startswith("encoder.")),
    # In round 1: what is merged every second round, or never, is not.
    "layer-schedule": partial(
        partial_mean, lambda name: name not in {"encoder.conv.weight", "projector.weight"}
    ),
    "fedlama": lambda g, answers: mean(answers),
    "fedvssl": fedvssl,
    "fednova": fednova,
    "elastic": elastic,
    "median": median,
    "trimmed-mean": trimmed_mean,
    "krum": partial(multikrum, selected=1),
    "multikrum": multikrum,
    "bulyan": bulyan,
    "attack-adaptive": attack_adaptive,
}
"""By name, with the fields of `CHOICES` and the default of all others."""

CHOICES: dict[str, dict[str, object]] = {
    **{preset: {"warmup_rounds": 0} for preset in PRESETS},
    "layer-schedule": {"every": {"encoder.conv": 2, "projector": 0}},
    **{name: {"byzantine": 0} for name in ("krum", "multikrum", "bulyan")},
}
"""The fields that are not at their default."""
