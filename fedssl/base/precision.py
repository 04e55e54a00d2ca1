"""The precision of a local update: float32, or matrix products in bfloat16."""

from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16"]

P = ParamSpec("P")


def has_native_bf16(device: torch.device) -> bool:
    """Return whether a device's hardware computes in bfloat16; emulation is slow."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Every CPU with bfloat16 in AMX also has it in AVX-512.
    native: bool = torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001
    return native


def choose_precision(setting: Literal["fp32", "bf16", "auto"], device: torch.device) -> Precision:
    """Return the precision on a device for a value of ``client.precision``.

    Examples
    --------
    >>> choose_precision("bf16", torch.device("cpu"))
    'bf16'
    """
    if setting == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return setting


def in_float32(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a loss to compute it in float32 even inside autocast.

    In bfloat16, similarities and correlations have two to three digits: too few for a softmax or
    for the sum of many squares. Tensors of a wider type, float64, are not converted.

    Parameters
    ----------
    loss : Callable[P, Tensor]
        A function of tensors on one device, and of other arguments, that returns a scalar.

    Examples
    --------
    >>> @in_float32
    ... def mean_square(z):
    ...     return z.square().mean()
    >>> mean_square(torch.ones(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    @wraps(loss)
    def in_float32_loss(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        device = next(a.device for a in args if isinstance(a, Tensor))
        with torch.autocast(device.type, enabled=False):
            return loss(*map(_to_float32, args), **{n: _to_float32(a) for n, a in kwargs.items()})  # type: ignore[arg-type]

    return in_float32_loss


def _to_float32(argument: object) -> object:
    if isinstance(argument, Tensor) and argument.is_floating_point():
        return argument.to(torch.promote_types(argument.dtype, torch.float32))
    return argument
