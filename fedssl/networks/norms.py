"""Replace BatchNorm by GroupNorm."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

MIN_GROUP_CHANNELS = 16
"""The smallest number of channels in a group, which was best for Wu and He (table 3)."""


def use_group_norm(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm of a module by a GroupNorm, and return the module.

    BatchNorm's statistics depend on a client's own examples, and the mean of the clients'
    statistics is not that of the merged model: the error grows if clients differ more or batches
    are smaller. GroupNorm normalises each example alone. So it has no statistics to merge, is the
    same in training and evaluation, and does not depend on the batch. It costs some accuracy if
    clients are alike, and objectives that avoid collapse by BatchNorm lose this protection.

    The size of a group is the smallest divisor of the number of channels that is at least 16, or
    all channels. In a head the channels are features. Scale and shift are copied, so the initial
    weights are those of the model with BatchNorm; so is the activation in some of timm's norms.

    Raises
    ------
    ValueError
        A subclass of BatchNorm has its own computation, which would be lost.

    Source: Wu and He, "Group Normalization", ECCV 2018; for federated learning Hsieh et al., "The
    Non-IID Data Quagmire of Decentralized Machine Learning", ICML 2020.

    Examples
    --------
    >>> isinstance(use_group_norm(nn.BatchNorm2d(32)), nn.GroupNorm)
    True
    """
    replacements: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, replacements.setdefault(child, _group_norm(child)))
    return _group_norm(module) if isinstance(module, _BatchNorm) else module


def group_count(channels: int) -> int:
    """Return the number of groups for a number of channels.

    Examples
    --------
    >>> group_count(64), group_count(10)
    (4, 1)
    """
    sizes = (size for size in range(MIN_GROUP_CHANNELS, channels) if channels % size == 0)
    return channels // next(sizes, channels)


class _GroupNormAct(nn.GroupNorm):
    """GroupNorm, dropout and activation in one module, which replaces timm's BatchNormAct2d."""

    drop: nn.Module
    act: nn.Module

    def forward(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.drop(super().forward(maps))))


@torch.no_grad()
def _group_norm(norm: _BatchNorm) -> nn.GroupNorm:
    fields = group_count(norm.num_features), norm.num_features, norm.eps, norm.affine
    group_norm: nn.GroupNorm
    if hasattr(norm, "act"):
        group_norm = _GroupNormAct(*fields)
        group_norm.drop, group_norm.act = norm.get_submodule("drop"), norm.get_submodule("act")
    elif isinstance(norm, nn.SyncBatchNorm) or type(norm).forward is _BatchNorm.forward:
        group_norm = nn.GroupNorm(*fields)
    else:
        raise ValueError(
            f"model.norm = group: no GroupNorm can replace a {type(norm).__name__}; "
            "choose batch or another encoder"
        )
    if norm.affine:
        group_norm.weight.copy_(norm.weight)
        group_norm.bias.copy_(norm.bias)
    return group_norm
