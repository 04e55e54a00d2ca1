"""The optimisers of local updates, their learning rate in each round, and their state."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

if TYPE_CHECKING:
    from fedssl.config import ClientConfig


class LARS(SGD):
    """SGD with a learning rate for each weight tensor, in proportion to its norm.

    Each weight tensor w with gradient g (weight decay included) has its gradient multiplied by
    η‖w‖ / ‖g‖ before the momentum; biases and normalisation weights (tensors of one dimension)
    take plain SGD without weight decay. For large batches. Source: You, Gitman and Ginsburg,
    "Large Batch Training of Convolutional Networks", 2017, with the exclusions of SimCLR.

    Parameters
    ----------
    params : Iterable[nn.Parameter]
        The parameters to train.
    lr, momentum, nesterov, weight_decay
        As in `torch.optim.SGD`.
    trust : float
        The coefficient η.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ):
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov)
        self.decay = weight_decay
        self.trust = trust

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Scale the gradients in place, then take SGD's step."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None or p.ndim < 2:
                    continue
                p.grad.add_(p, alpha=self.decay)
                weight, gradient = p.norm(), p.grad.norm()
                scale = torch.where(
                    (weight > 0) & (gradient > 0), self.trust * weight / gradient, 1.0
                )
                p.grad.mul_(scale)
        super().step()


def build_optimizer(parameters: Iterable[nn.Parameter], config: "ClientConfig") -> Optimizer:
    """Build the optimiser that the ``client`` section names."""
    lr, decay = config.lr, config.weight_decay
    momentum, nesterov = config.momentum, config.nesterov
    match config.optimizer:
        case "sgd":
            return SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay)
        case "adam":
            return Adam(parameters, lr=lr, weight_decay=decay)
        case "adamw":
            return AdamW(parameters, lr=lr, weight_decay=decay)
        case "lars":
            return LARS(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay)


def learning_rate(config: "ClientConfig", server_round: int, rounds: int) -> float:
    """Return the learning rate of a round, from 1 to ``rounds``.

    It rises linearly over ``warmup_rounds`` and reaches ``lr`` in the round after them. Then it is
    constant, or falls along half a cosine, which would reach zero in the round after the last.
    """
    warmup = config.warmup_rounds
    if server_round <= warmup:
        return config.lr * server_round / (warmup + 1)
    if config.schedule == "constant":
        return config.lr
    progress = (server_round - 1 - warmup) / max(1, rounds - warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))


def optimizer_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """Flatten an optimiser's state into tensors named ``<parameter index>.<entry>``."""
    return {
        f"{index}.{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: Optimizer, state: Mapping[str, Tensor]) -> None:
    """Restore a state that `optimizer_state` returned; an empty state resets the optimiser."""
    optimizer.state.clear()
    if not state:
        return
    nested: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        index, name = key.split(".", 1)
        nested.setdefault(int(index), {})[name] = value.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": nested, "param_groups": groups})
