"""Check that a model's tensors are finite and in the range that their role allows."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedssl.model_state import TensorRoles

MAX_COUNT = 1 << 53
"""The largest value of a batch counter, far below the overflow of int64."""


@torch.no_grad()
def first_not_finite(state: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first floating tensor with an infinity or NaN; None if all are finite.

    Examples
    --------
    >>> first_not_finite({"a": torch.zeros(2), "b": torch.tensor([1.0, float("nan")])})
    'b'
    """
    floats = {name: t for name, t in state.items() if t.is_floating_point() and t.numel()}
    if not floats:
        return None
    # A sum reads the weights once at full speed; isfinite() takes 16 times as long. The sum is not
    # finite if any value is not, but also if finite values are large: then check each value.
    sums = torch.stack([tensor.sum(dtype=_sum_dtype(tensor)) for tensor in floats.values()])
    suspects = [
        name for name, finite in zip(floats, sums.isfinite().tolist(), strict=True) if not finite
    ]
    return next((name for name in suspects if not floats[name].isfinite().all()), None)


@torch.no_grad()
def first_too_large(state: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first floating tensor whose norm is not finite; None for none.

    A model with such a tensor cannot be trained, even if all its numbers are finite.
    """
    floats = {name: t for name, t in state.items() if t.is_floating_point() and t.numel()}
    if not floats:
        return None
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(list(floats.values()))])  # noqa: SLF001
    finite = zip(floats, norms.isfinite().tolist(), strict=True)
    return next((name for name, is_finite in finite if not is_finite), None)


def _sum_dtype(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


@torch.no_grad()
def first_error(state: Mapping[str, Tensor], roles: TensorRoles) -> str | None:
    """Return an error message for the first tensor that is not valid; None if all are.

    Parameters
    ----------
    state : Mapping[str, Tensor]
        The tensors of a model, or some of them.
    roles : TensorRoles
        The tensors' roles: BatchNorm's running variances must not be negative, and its batch
        counters must be from 0 to 2⁵³.
    """
    if name := first_not_finite(state):
        return f"its tensor {name} is infinite or NaN"
    for name in (name for name in state if name in roles.variances):
        if state[name].numel() and float(state[name].min()) < 0:
            return f"its tensor {name} is a running variance, but negative"
    for name in (name for name in state if name in roles.counters):
        tensor = state[name]
        if tensor.numel() and not 0 <= int(tensor.min()) <= int(tensor.max()) <= MAX_COUNT:
            return f"its tensor {name} is a batch counter, but not from 0 to 2^53"
    return None
