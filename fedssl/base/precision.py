"""How numbers are computed in a local update: float32, or its matrix products in bfloat16."""

from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16"]

P = ParamSpec("P")


def bf16_is_native(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16 itself; elsewhere it is emulated, and slow."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Every CPU with AMX's bfloat16 has AVX-512's too.
    native: bool = torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001
    return native


def choose_precision(asked: Literal["fp32", "bf16", "auto"], device: torch.device) -> Precision:
    """Return what ``client.precision`` means on a device."""
    if asked == "auto":
        return "bf16" if bf16_is_native(device) else "fp32"
    return asked


def in_float32(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a loss, so that it is computed in float32 also where autocast is on.

    Similarities and correlations in bfloat16 have two to three digits: too few for a softmax, or
    for the sum of many squares. A wider type, float64, is left as it is.

    Parameters
    ----------
    loss : Callable[P, Tensor]
        Takes tensors, the first of them on the device of all, and whatever else; returns a scalar.
    """

    @wraps(loss)
    def wide(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        device = next(a.device for a in args if isinstance(a, Tensor))
        with torch.autocast(device.type, enabled=False):
            return loss(*map(_wide, args), **{n: _wide(a) for n, a in kwargs.items()})  # type: ignore[arg-type]

    return wide


def _wide(argument: object) -> object:
    if isinstance(argument, Tensor) and argument.is_floating_point():
        return argument.to(torch.promote_types(argument.dtype, torch.float32))
    return argument
