"""The ``views`` section: a list of a modality's steps, or the name of one of its policies."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Annotated, Any, NamedTuple, cast

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from fedssl.base.registry import Named, Registry, model_with_name
from fedssl.views.step import Step


class NamedPolicy(NamedTuple):
    """A view policy that a config may name.

    Examples
    --------
    >>> from fedssl.modalities import MODALITIES
    >>> weak = MODALITIES["image"].view_policies["weak"]
    >>> policy = NamedPolicy("When even weak views are too strong.", weak.steps[:1])
    >>> len(policy.steps)
    1
    """

    when: str
    """When to use it, in a line."""
    steps: tuple[Step, ...]


class Policies(Named[NamedPolicy]):
    """The view policies of a modality by name."""

    def check(self, found: object, where: str) -> NamedPolicy:
        """Take a tuple of steps for a policy, too."""
        if isinstance(found, NamedPolicy):
            return found
        if isinstance(found, tuple) and all(isinstance(step, Step) for step in found):
            return NamedPolicy("", found)
        raise ValueError(f"{where}: must be a NamedPolicy, or a tuple of steps")

    def summary(self, name: str) -> str:
        """Return the policy's own line."""
        return self[name].when


def policy_type(
    steps: Registry[Step],
    policies: Policies,
    order: str = "put what needs the batch as it is first, then crops, then all else",
) -> Any:
    """Return the annotated type of a modality's ``views`` section, for pydantic.

    Parameters
    ----------
    steps : Registry[Step]
        The steps by name.
    policies : Policies
        The policies that have a name.
    order : str
        What to do, where steps do not stand in the order of their ranks.
    """
    listed: Any = tuple[Annotated[Step, steps.choice], ...]
    names: Any = {"anyOf": [{"enum": list(policies)}, {"pattern": r"\."}], "type": "string"}
    named = Annotated[str, WithJsonSchema(names)]
    return Annotated[
        listed,
        BeforeValidator(_named_in(policies, steps), json_schema_input_type=listed | named),
        AfterValidator(_ordered_by(order)),
    ]


def _named_in(policies: Policies, steps: Registry[Step]) -> Callable[[Any], Any]:
    def steps_of(value: Any) -> Any:
        if isinstance(value, str):
            return tuple(_as_found(step, steps) for step in policies.find(value).steps)
        return tuple(value) if isinstance(value, list) else value

    return steps_of


def _as_found(step: Step, steps: Registry[Step]) -> Step:
    """Return a step whose name leads to its class, by a dotted path where no other does.

    So what is written of a policy of a user's own can be read again.
    """
    kind = type(step)
    if "." in step.name or (step.name in steps and steps[step.name] is kind):
        return step
    path = f"{kind.__module__}.{kind.__qualname__}"
    steps.find(path, "a step of the policy")
    return cast(
        Step, model_with_name(kind, path).model_validate({**step.model_dump(), "name": path})
    )


def _ordered_by(order: str) -> Callable[[tuple[Step, ...]], tuple[Step, ...]]:
    def check(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        for before, after in pairwise(steps):
            if before.rank > after.rank:
                raise ValueError(f"{after.name} comes after {before.name}: {order}")
        for place, step in enumerate(steps):
            for other in steps[:place]:
                # Each once for a view: a crop of a crop would be another crop.
                once = step.rank < 2 and step.rank == other.rank
                if once and any(step.is_for(v) and other.is_for(v) for v in _begins(step, other)):
                    raise ValueError(
                        f"{other.name} and {step.name} are for the same view: give them "
                        "first_view and last_view, or leave one out"
                    )
        return steps

    return check


def _begins(*steps: Step) -> Iterable[int]:
    """Return the views that any of these begin with: if two share a view, they share one of it."""
    return (step.first_view for step in steps)
