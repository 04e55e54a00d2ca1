"""Whether a model's tensors can be used: finite, and in the range of what they stand for."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedssl.model_state import ModelParts

LARGEST_COUNT = 1 << 53
"""The most that a counter of batches may hold: far from where adding one would overflow."""


@torch.no_grad()
def first_not_finite(state: Mapping[str, Tensor]) -> str | None:
    """Name the first floating tensor that holds an infinity or NaN; None where all are finite."""
    floats = {name: t for name, t in state.items() if t.is_floating_point() and t.numel()}
    if not floats:
        return None
    # A sum passes over the weights once at full speed; isfinite() takes 16 times as long. An
    # infinity or NaN makes the sum one, too, but so may large finite numbers: then look closely.
    sums = torch.stack([tensor.sum(dtype=_wide(tensor)) for tensor in floats.values()])
    suspects = [
        name for name, good in zip(floats, sums.isfinite().tolist(), strict=True) if not good
    ]
    return next((name for name in suspects if not floats[name].isfinite().all()), None)


@torch.no_grad()
def first_too_large(state: Mapping[str, Tensor]) -> str | None:
    """Name the first floating tensor whose sum of squares is no finite number; None for none.

    Nothing can be trained from such a model, though each of its numbers may be finite.
    """
    floats = {name: t for name, t in state.items() if t.is_floating_point() and t.numel()}
    if not floats:
        return None
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(list(floats.values()))])  # noqa: SLF001
    finite = zip(floats, norms.isfinite().tolist(), strict=True)
    return next((name for name, is_finite in finite if not is_finite), None)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


@torch.no_grad()
def first_fault(state: Mapping[str, Tensor], parts: ModelParts) -> str | None:
    """Say what makes a model unusable, tensor by tensor; None where nothing does.

    Parameters
    ----------
    state : Mapping[str, Tensor]
        A model, or a part of one.
    parts : ModelParts
        Which of its tensors are BatchNorm's variances, which must not be negative, and counters,
        which must be from 0 to 2⁵³.
    """
    if name := first_not_finite(state):
        return f"its tensor {name} is infinite or NaN"
    for name in (name for name in state if name in parts.variances):
        if state[name].numel() and float(state[name].min()) < 0:
            return f"its tensor {name} is a variance, but negative"
    for name in (name for name in state if name in parts.counters):
        tensor = state[name]
        if tensor.numel() and not 0 <= int(tensor.min()) <= int(tensor.max()) <= LARGEST_COUNT:
            return f"its tensor {name} is a count, but not one from 0 to 2^53"
    return None
