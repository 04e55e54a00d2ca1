"""GroupNorm in place of BatchNorm."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

CHANNELS = 16
"""How many channels are normalised together, at least: what Wu and He found best (table 3)."""


def use_group_norm(module: nn.Module) -> nn.Module:
    """Put a GroupNorm in the place of every BatchNorm of a module, and return it.

    BatchNorm's statistics are those of a client's own examples, and the mean of many clients'
    statistics is not what their mean model computes: the more unlike the clients, and the smaller
    their batches, the worse. GroupNorm normalises each example by itself: it has no statistics to
    be merged, does the same in training and evaluation, and knows no batch. It costs some accuracy
    where clients are alike, and objectives that keep from collapsing by BatchNorm lose that.

    A group is the smallest number of channels from 16 on that divides them, or all of them. In a
    head, whose channels are all there is, that is 16 features or more of one example. Scale and
    shift are taken over, so that the initial weights are those of the model with BatchNorm; so is
    the activation that some of timm's networks have in theirs.

    Raises
    ------
    ValueError
        A BatchNorm does something of its own, which would be lost.

    Source: Wu and He, "Group Normalization", ECCV 2018; for federated learning Hsieh et al., "The
    Non-IID Data Quagmire of Decentralized Machine Learning", ICML 2020.
    """
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, made.setdefault(child, _group_norm(child)))
    return _group_norm(module) if isinstance(module, _BatchNorm) else module


def groups(channels: int) -> int:
    """Return how many groups so many channels make."""
    sizes = (size for size in range(CHANNELS, channels) if channels % size == 0)
    return channels // next(sizes, channels)


class _GroupNormAct(nn.GroupNorm):
    """GroupNorm, dropout and activation in one, in the place of timm's BatchNormAct2d."""

    drop: nn.Module
    act: nn.Module

    def forward(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.drop(super().forward(maps))))


@torch.no_grad()
def _group_norm(norm: _BatchNorm) -> nn.GroupNorm:
    fields = groups(norm.num_features), norm.num_features, norm.eps, norm.affine
    made: nn.GroupNorm
    if hasattr(norm, "act"):
        made = _GroupNormAct(*fields)
        made.drop, made.act = norm.get_submodule("drop"), norm.get_submodule("act")
    elif isinstance(norm, nn.SyncBatchNorm) or type(norm).forward is _BatchNorm.forward:
        made = nn.GroupNorm(*fields)
    else:
        raise ValueError(
            f"model.norm = group: no GroupNorm can stand for a {type(norm).__name__}; "
            "choose batch or another encoder"
        )
    if norm.affine:
        made.weight.copy_(norm.weight)
        made.bias.copy_(norm.bias)
    return made
