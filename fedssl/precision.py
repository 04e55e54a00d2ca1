"""How numbers are computed in a local update: float32, or its matrix products in bfloat16."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Literal, ParamSpec

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16"]

P = ParamSpec("P")
Loss = Callable[Concatenate[Tensor, Tensor, P], Tensor]


def bf16_is_native(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16 itself; elsewhere it is emulated, and slow."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Every CPU with AMX's bfloat16 has AVX-512's too.
    native: bool = torch.cpu._is_avx512_bf16_supported()
    return native


def choose_precision(asked: Literal["fp32", "bf16", "auto"], device: torch.device) -> Precision:
    """Return what ``client.precision`` means on a device."""
    if asked == "auto":
        return "bf16" if bf16_is_native(device) else "fp32"
    return asked


def in_float32(loss: Loss[P]) -> Loss[P]:
    """Decorate a loss of two views, so that it is computed in float32 also where autocast is on.

    Similarities and correlations in bfloat16 have two to three digits: too few for a softmax, or
    for the sum of many squares. A wider type, float64, is left as it is.

    Parameters
    ----------
    loss : Callable[Concatenate[Tensor, Tensor, P], Tensor]
        Takes the two views' projections, [B, D] each, and whatever else; returns a scalar.
    """

    @wraps(loss)
    def wide(first: Tensor, second: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        dtype = torch.promote_types(first.dtype, torch.float32)
        with torch.autocast(first.device.type, enabled=False):
            return loss(first.to(dtype), second.to(dtype), *args, **kwargs)

    return wide
