"""A model's state: its tensors by name; how they are split, copied, and kept in files."""

from fedssl.model_state.copying import adopt, check_same, clone, copy_into
from fedssl.model_state.parts import (
    ModelParts,
    SplitModel,
    State,
    count_bytes,
    federated_state,
    floating_buffers,
    is_private,
    model_parts,
    parameters,
    private_state,
    split_state,
    trained_names,
)
from fedssl.model_state.state_file import load_state, save_state

__all__ = [
    "ModelParts",
    "SplitModel",
    "State",
    "adopt",
    "check_same",
    "clone",
    "copy_into",
    "count_bytes",
    "federated_state",
    "floating_buffers",
    "is_private",
    "load_state",
    "model_parts",
    "parameters",
    "private_state",
    "save_state",
    "split_state",
    "trained_names",
]
