import torch
from torch import nn

from fedssl.model_state import (
    floating_buffer_names,
    is_private,
    tensor_roles,
)


def test_private_names_match_whole_parts() -> None:
    assert is_private("target.encoder.weight", ("target",))
    assert is_private("queue", ("queue",))
    assert not is_private("targets.weight", ("target",))


def test_a_models_parts_are_known_by_name() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2)), nn.LayerNorm(2))
    parts = tensor_roles(module)
    assert parts.names == tuple(module.state_dict())
    assert parts.buffers == {"1.0.running_mean", "1.0.running_var"}
    assert parts.batchnorm_names == parts.buffers | {
        "1.0.weight",
        "1.0.bias",
        "1.0.num_batches_tracked",
    }
    assert tensor_roles(nn.BatchNorm1d(2)).batchnorm_names == set(nn.BatchNorm1d(2).state_dict())


def test_floating_buffers_are_batchnorms_statistics() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2))
    assert floating_buffer_names(module) == {"1.running_mean", "1.running_var"}
