"""The norm of a client's update, and its clipping."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from fedssl.model_state import State


@torch.no_grad()
def update_norm(state: Mapping[str, Tensor], global_state: Mapping[str, Tensor]) -> float:
    """Return ‖w − g‖₂ over all floating tensors that came back, BatchNorm's statistics included.

    Parameters
    ----------
    state : Mapping[str, Tensor]
        w: the model that came back.
    global_state : Mapping[str, Tensor]
        g: what was sent; at least the tensors of w.

    Examples
    --------
    >>> sent, returned = {"w": torch.zeros(2)}, {"w": torch.tensor([3.0, 4.0])}
    >>> update_norm(returned, sent)
    5.0
    """
    lengths = [
        length(tensor.double() - global_state[name].to(tensor).double())
        for name, tensor in state.items()
        if tensor.is_floating_point()
    ]
    return math.hypot(*lengths)


def length(tensor: Tensor) -> float:
    """Return a tensor's norm: in double precision, for a square of 1e30 is no float32."""
    return float(torch.linalg.vector_norm(tensor.double()))


@torch.no_grad()
def clip(state: Mapping[str, Tensor], global_state: Mapping[str, Tensor], share: float) -> State:
    """Return g + s·(w − g) of the floating tensors, and all others as they are.

    Parameters
    ----------
    state, global_state : Mapping[str, Tensor]
        The model that came back and the model sent, as in `update_norm`.
    share : float
        s: the limit divided by the update's norm, in [0, 1].

    Examples
    --------
    >>> sent, returned = {"w": torch.zeros(2)}, {"w": torch.tensor([3.0, 4.0])}
    >>> clip(returned, sent, share=0.5)
    {'w': tensor([1.5000, 2.0000])}
    """
    clipped = {}
    for name, tensor in state.items():
        clipped[name] = tensor
        if tensor.is_floating_point():
            sent = global_state[name].to(tensor).double()
            clipped[name] = torch.lerp(sent, tensor.double(), share).to(tensor.dtype)
    return clipped
