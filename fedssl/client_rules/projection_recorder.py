"""Record the inputs of an objective's encoder and the projections that its projector returns."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from fedssl.objectives.base import Objective


class ProjectionRecorder:
    """Records the projections that an objective computes, for other terms of the loss.

    It is a context manager and records only inside its ``with`` block.

    Parameters
    ----------
    objective : Objective
        The model; its projector must take the very tensor that its encoder returns.
    """

    def __init__(self, objective: Objective):
        self._objective = objective
        self._encoded: list[tuple[Tensor, Tensor]] = []
        self._projections: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> Self:
        self._handles = [
            self._objective.encoder.register_forward_hook(self._on_encoded),
            self._objective.projector.register_forward_hook(self._on_projected),
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    # A pass without gradients is another model's in the same modules, or trains nothing.

    def _on_encoded(self, module: nn.Module, arguments: tuple[Any, ...], features: Tensor) -> None:
        if torch.is_grad_enabled():
            self._encoded.append((arguments[0], features))

    def _on_projected(
        self, module: nn.Module, arguments: tuple[Any, ...], projection: Tensor
    ) -> None:
        if torch.is_grad_enabled():
            self._projections += [(i, projection) for i, f in self._encoded if f is arguments[0]]

    def clear(self) -> None:
        """Delete all recorded tensors."""
        self._projections, self._encoded = [], []

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Return and delete the inputs [B, …] and projections [B, D] since the last call.

        Raises
        ------
        ValueError
            Nothing was recorded: the projector does not take the encoder's output.
        """
        projections = self._projections
        self.clear()
        if not projections:
            raise ValueError(
                f"{type(self._objective).__name__} does not project its encoder's features, which "
                "the strategy needs: choose another strategy or objective"
            )
        return projections
