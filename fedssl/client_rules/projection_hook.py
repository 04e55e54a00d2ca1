"""What goes into an objective's encoder and what comes out of its projector, seen as it runs."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from fedssl.objectives.base import Objective


class Watch:
    """Sees the projections that an objective computes, so that terms of the loss can use them.

    A context: outside of it nothing is seen.

    Parameters
    ----------
    objective : Objective
        Its projector must take features as they leave its encoder.
    """

    def __init__(self, objective: Objective):
        self._objective = objective
        self._encoded: list[tuple[Tensor, Tensor]] = []
        self._seen: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> Self:
        self._handles = [
            self._objective.encoder.register_forward_hook(self._encodes),
            self._objective.projector.register_forward_hook(self._projects),
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    # What runs without gradients is another model in the same modules, or is not trained.

    def _encodes(self, module: nn.Module, arguments: tuple[Any, ...], features: Tensor) -> None:
        if torch.is_grad_enabled():
            self._encoded.append((arguments[0], features))

    def _projects(self, module: nn.Module, arguments: tuple[Any, ...], projection: Tensor) -> None:
        if torch.is_grad_enabled():
            self._seen += [(i, projection) for i, f in self._encoded if f is arguments[0]]

    def forget(self) -> None:
        """Let go of what was seen."""
        self._seen, self._encoded = [], []

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return examples [B, …] and their projections [B, D] since the last call.

        Raises
        ------
        ValueError
            There are none: the projector does not take the encoder's features.
        """
        seen, self._seen, self._encoded = self._seen, [], []
        if not seen:
            raise ValueError(
                f"{type(self._objective).__name__} does not project its encoder's features, which "
                "the strategy needs: choose another strategy or objective"
            )
        return seen
