"""From stored examples to views, by steps that are done one after the other."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fedssl.data.example_spec import ExampleSpec
from fedssl.views.drawing import draw_uniform
from fedssl.views.step import Step


class Change(Step):
    """A step that makes other prepared examples of prepared examples."""

    def draws_of(self, shape: tuple[int, ...]) -> int:
        """Return how many random numbers it takes for each example of this shape."""
        return self.draws

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return an example's shape after the step, of that before it."""
        return shape

    @abstractmethod
    def apply(self, examples: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed examples; those given may be written to.

        Parameters
        ----------
        examples : Tensor
            float32 [B, …], prepared, on any device.
        uniform : Tensor
            float32 [B, ``draws_of(shape)``] in [0, 1), on the CPU: the same on every device.
        """


class Recipe:
    """One random view of each example: prepared, then a policy's steps one after the other.

    Parameters
    ----------
    steps : Sequence[Change]
        The ``views`` section.
    prepare : Callable[[Tensor], Tensor]
        Turns stored examples into what an encoder takes, and does not write to them.
    spec_of : Callable[[ExampleSpec], ExampleSpec]
        What prepared examples are, of what stored ones are.
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
        """Return what a view of this number, from 1, is, of what stored examples are."""
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
        made = self._prepare(examples)
        steps, needed, shape = self._steps_for(view), [], tuple(made.shape[1:])
        for step in steps:
            needed.append(step.draws_of(shape))
            shape = step.shape_of(shape)
        uniform = draw_uniform(len(examples), needed, generator)
        for step, drawn in zip(steps, uniform, strict=True):
            made = step.apply(made, drawn)
        return made
