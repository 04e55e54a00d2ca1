"""Copies of states: new ones, into each other, or none where memory is shared."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedssl.base.allocator import aligned, allocate
from fedssl.model_state.parts import SplitModel, State, split_state


@torch.no_grad()
def clone(state: Mapping[str, Tensor]) -> State:
    """Copy a state, so that it no longer shares memory."""
    if not state:
        return {}
    copies = allocate(state, next(iter(state.values())).device)
    torch._foreach_copy_(list(copies.values()), list(state.values()))
    return copies


@torch.no_grad()
def copy_into(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Copy one state into another in place; a differing element type is converted.

    Raises
    ------
    ValueError
        The two do not have the same names and shapes; both are left as they were.
    """
    check_same(target, source)
    for name, tensor in target.items():
        tensor.copy_(_converted(source[name], tensor))


@torch.no_grad()
def adopt(
    objective: SplitModel,
    federated: Mapping[str, Tensor],
    private: Mapping[str, Tensor] | None = None,
) -> None:
    """Let an objective's tensors take the memory of others as their own, without a copy.

    What their memory was stays with whoever else refers to it. Only a tensor of another element
    type, device or alignment is copied.

    Parameters
    ----------
    objective : Objective
        Whose parameters and buffers are meant; the objects stay the same.
    federated : Mapping[str, Tensor]
        What the federated ones become; from now on shared with the objective.
    private : Mapping[str, Tensor] | None (default: None)
        What the private ones become; None leaves them.

    Raises
    ------
    ValueError
        Names or shapes are not the objective's, which is left as it was.
    """
    own = split_state(objective, keep_vars=True)
    pairs = (
        [(own[0], federated)]
        if private is None
        else list(zip(own, (federated, private), strict=True))
    )
    for target, source in pairs:
        check_same(target, source)
    for target, source in pairs:
        for name, tensor in target.items():
            value = _converted(source[name].detach(), tensor).to(tensor.device, tensor.dtype)
            tensor.data = aligned(value)


def check_same(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Raise a ValueError where two states do not have the same names and shapes."""
    if missing := sorted(target.keys() ^ source.keys()):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"the models differ: only one of them has {missing[0]}{more}")
    for name, tensor in target.items():
        if tensor.shape != source[name].shape:
            raise ValueError(
                f"the models differ: {name} is {tuple(source[name].shape)} in one and "
                f"{tuple(tensor.shape)} in the other"
            )


def _converted(value: Tensor, like: Tensor) -> Tensor:
    """Round where a float becomes an integer: the nearest count to a mean of counts, not below."""
    if value.is_floating_point() and not like.is_floating_point():
        return value.round()
    return value
