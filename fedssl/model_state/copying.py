"""Copy states, copy one into another, or let a model share the memory of others."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedssl.base.allocator import aligned, allocate
from fedssl.model_state.tensor_roles import SplitModel, State, split_state


@torch.no_grad()
def clone(state: Mapping[str, Tensor]) -> State:
    """Return a copy of a state that shares no memory with it.

    Examples
    --------
    >>> state = {"weight": torch.zeros(2)}
    >>> copy = clone(state)
    >>> copy["weight"] += 1
    >>> state
    {'weight': tensor([0., 0.])}
    """
    if not state:
        return {}
    copies = allocate(state, next(iter(state.values())).device)
    torch._foreach_copy_(list(copies.values()), list(state.values()))
    return copies


@torch.no_grad()
def copy_into(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Copy one state into another in place, and convert element types where they differ.

    Raises
    ------
    ValueError
        Names or shapes differ; then nothing is copied.

    Examples
    --------
    >>> target = {"weight": torch.zeros(2), "batches": torch.tensor(0)}
    >>> copy_into(target, {"weight": torch.ones(2), "batches": torch.tensor(1.7)})
    >>> target
    {'weight': tensor([1., 1.]), 'batches': tensor(2)}
    """
    check_same_layout(target, source)
    for name, tensor in target.items():
        tensor.copy_(_converted(source[name], tensor))


@torch.no_grad()
def rebind_tensors(
    objective: SplitModel,
    federated: Mapping[str, Tensor],
    private: Mapping[str, Tensor] | None = None,
) -> None:
    """Make an objective's parameters and buffers share the memory of other tensors.

    Only a tensor of another element type, device or alignment is copied. Other references to the
    objective's former memory stay valid.

    Parameters
    ----------
    objective : Objective
        The model; its parameter and buffer objects stay the same.
    federated : Mapping[str, Tensor]
        New values of the federated tensors; the objective shares their memory from now on.
    private : Mapping[str, Tensor] | None (default: None)
        New values of the private tensors; None leaves them unchanged.

    Raises
    ------
    ValueError
        Names or shapes are not the objective's; then nothing is changed.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.private = ()  # as an objective has it
    >>> average = {"weight": torch.ones(1, 2)}
    >>> rebind_tensors(model, average)
    >>> model(torch.ones(1, 2)).item()
    2.0
    """
    targets = split_state(objective, keep_vars=True)
    pairs = (
        [(targets[0], federated)]
        if private is None
        else list(zip(targets, (federated, private), strict=True))
    )
    for target, source in pairs:
        check_same_layout(target, source)
    for target, source in pairs:
        for name, tensor in target.items():
            value = _converted(source[name].detach(), tensor).to(tensor.device, tensor.dtype)
            tensor.data = aligned(value)


def check_same_layout(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Raise a ValueError if two states do not have the same names and shapes.

    Examples
    --------
    >>> check_same_layout({"weight": torch.zeros(2)}, {"weight": torch.zeros(3)})
    Traceback (most recent call last):
    ValueError: the models differ: weight is (3,) in one and (2,) in the other
    """
    if unmatched := sorted(target.keys() ^ source.keys()):
        more = f" and {len(unmatched) - 1} more" if len(unmatched) > 1 else ""
        raise ValueError(f"the models differ: only one of them has {unmatched[0]}{more}")
    for name, tensor in target.items():
        if tensor.shape != source[name].shape:
            raise ValueError(
                f"the models differ: {name} is {tuple(source[name].shape)} in one and "
                f"{tuple(tensor.shape)} in the other"
            )


def _converted(value: Tensor, like: Tensor) -> Tensor:
    """Round a float that becomes an integer, such as a mean of counts, to the nearest one."""
    if value.is_floating_point() and not like.is_floating_point():
        return value.round()
    return value
