"""A model's state: its tensors by name, and how to split, copy, check and save them."""

from fedssl.model_state.copying import check_same_layout, clone, copy_into, rebind_tensors
from fedssl.model_state.state_file import load_state, save_state
from fedssl.model_state.tensor_roles import (
    SplitModel,
    State,
    TensorRoles,
    count_bytes,
    federated_state,
    floating_buffer_names,
    is_private,
    parameter_names,
    private_tensors,
    split_state,
    tensor_roles,
    trainable_names,
)

__all__ = [
    "SplitModel",
    "State",
    "TensorRoles",
    "check_same_layout",
    "clone",
    "copy_into",
    "count_bytes",
    "federated_state",
    "floating_buffer_names",
    "is_private",
    "load_state",
    "parameter_names",
    "private_tensors",
    "rebind_tensors",
    "save_state",
    "split_state",
    "tensor_roles",
    "trainable_names",
]
