"""Random models, and the rules written out as naive loops in float64."""

from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from strategies import LDAWAOptions

State = dict[str, Tensor]

BUFFERS = frozenset({"bn.running_mean", "bn.running_var"})


def model(seed: int, spread: float = 1.0) -> State:
    """A state with all kinds of tensors; ``spread`` 0 gives every seed the same one."""
    common = torch.Generator().manual_seed(99)
    own = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        base = torch.randn(shape, generator=common)
        return base + spread * torch.randn(shape, generator=own)

    return {
        "conv.weight": draw(4, 3, 3, 3),
        "bn.weight": draw(4),
        "bn.bias": draw(4),
        "bn.running_mean": draw(4),
        "bn.running_var": draw(4).abs() + 0.1,
        "bn.num_batches_tracked": torch.tensor(seed),
        "head.weight": draw(2, 4),
        "temperature": draw(),
    }


cohorts = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(1, 9_000)), min_size=1, max_size=5
).map(lambda pairs: ([model(seed) for seed, _ in pairs], [examples for _, examples in pairs]))
"""Client models, with their numbers of examples."""


def naive_fedavg(states: Sequence[State], examples: Sequence[int]) -> State:
    total = sum(examples)
    merged = {}
    for name, first in states[0].items():
        if first.is_floating_point():
            parts = [n * s[name].double() for s, n in zip(states, examples, strict=True)]
            merged[name] = (torch.stack(parts).sum(0) / total).float()
        else:
            merged[name] = torch.stack([s[name] for s in states]).amax(0)
    return merged


def naive_cosine(w: Tensor, g: Tensor) -> float:
    w, g = w.double().flatten(), g.double().flatten()
    if not g.any():
        return 1.0
    if not w.any():
        return 0.0
    return min(1.0, float(sum(a * b for a, b in zip(w, g, strict=True)) / (w.norm() * g.norm())))


def naive_rule(
    global_state: State,
    states: Sequence[State],
    examples: Sequence[int],
    rule: LDAWAOptions,
    buffers: frozenset[str],
) -> State:
    merged = naive_fedavg(states, examples)
    shares = [n / sum(examples) for n in examples]
    if rule.weighting == "uniform":
        shares = [1 / len(states)] * len(states)
    ruled = [
        name
        for name, g in global_state.items()
        if g.is_floating_point() and (rule.bn_buffers == "scaled" or name not in buffers)
    ]
    layers = [name for name in ruled if global_state[name].dim()]

    def whole(state: State) -> Tensor:
        return torch.cat([state[name].flatten() for name in layers])

    for name in ruled:
        g = global_state[name]
        deltas = [1.0] * len(states)
        if name in layers and rule.granularity == "tensor":
            deltas = [naive_cosine(s[name], g) for s in states]
        elif name in layers and rule.granularity == "model":
            deltas = [naive_cosine(whole(s), whole(global_state)) for s in states]
        if rule.negative == "clip":
            deltas = [max(d, 0.0) for d in deltas]
        w = [s[name].double() for s in states]
        k = range(len(states))
        weighed = torch.stack([shares[i] * deltas[i] * w[i] for i in k]).sum(0)
        gamma = sum(shares[i] * deltas[i] for i in k)
        if rule.scaling == "normalized":
            weighed = weighed / gamma if gamma else g.double()
        elif rule.scaling == "constant-shrink":
            weighed = gamma * torch.stack([shares[i] * w[i] for i in k]).sum(0)
        elif rule.scaling == "restored-norm":
            norm = sum(shares[i] * float(w[i].norm()) for i in k)
            length = float(weighed.norm())
            weighed = weighed * (norm / length) if length else g.double()
        merged[name] = weighed.float()
    return merged
