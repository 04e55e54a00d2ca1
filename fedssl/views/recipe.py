"""Make views from stored examples, by steps applied one after the other."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fedssl.data.example_spec import ExampleSpec
from fedssl.views.drawing import draw_uniform
from fedssl.views.step import Step


class Change(Step):
    """A step that changes prepared examples."""

    def draws_of(self, shape: tuple[int, ...]) -> int:
        """Return how many random numbers the step uses for each example of this shape."""
        return self.draws

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return an example's shape after the step, given its shape before."""
        return shape

    @abstractmethod
    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed examples; the input may be modified.

        Parameters
        ----------
        examples : Tensor
            float32 [B, …], prepared, on any device.
        uniform : Tensor
            float32 [B, ``draws_of(shape)``] in [0, 1), on the CPU: the same on every device.
        """


class Recipe:
    """Makes one random view of each example: prepares it, then applies a policy's steps in order.

    Parameters
    ----------
    steps : Sequence[Change]
        The steps of the ``views`` section.
    prepare : Callable[[Tensor], Tensor]
        Turns stored examples into the encoder's input, without modifying them.
    spec_of : Callable[[ExampleSpec], ExampleSpec]
        Returns the spec of prepared examples, given that of stored ones.
    """

    def __init__(
        self,
        steps: Sequence[Change],
        prepare: Callable[[Tensor], Tensor],
        spec_of: Callable[[ExampleSpec], ExampleSpec],
    ):
        self.policy = tuple(steps)
        self._prepare, self._spec_of = prepare, spec_of

    def spec_of(self, spec: ExampleSpec, view: int) -> ExampleSpec:
        """Return the spec of view number ``view`` (from 1), given that of stored examples."""
        prepared = self._spec_of(spec)
        shape = prepared.shape
        for step in self._steps_for(view):
            shape = step.shape_of(shape)
        return ExampleSpec(prepared.modality, shape, prepared.dtype)

    def _steps_for(self, view: int) -> list[Change]:
        return [step for step in self.policy if step.is_for(view)]

    @torch.no_grad()
    def __call__(self, examples: Tensor, generator: torch.Generator, view: int = 1) -> Tensor:
        """Return one view of each example; see `ViewPolicy`."""
        views = self._prepare(examples)
        steps, needed, shape = self._steps_for(view), [], tuple(views.shape[1:])
        for step in steps:
            needed.append(step.draws_of(shape))
            shape = step.shape_of(shape)
        uniform = draw_uniform(len(examples), needed, generator)
        for step, drawn in zip(steps, uniform, strict=True):
            views = step.apply(views, drawn)
        return views
