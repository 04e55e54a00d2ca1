"""The ``views`` section: a list of a modality's steps, or the name of one of its policies."""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from fedssl.fields import Choice, nearest
from fedssl.views.step import Step


def policy_type(
    steps: Mapping[str, type[Step]],
    policies: Mapping[str, tuple[Step, ...]],
    order: str = "put what needs the batch as it is first, then crops, then all else",
) -> Any:
    """Return the annotated type of a modality's ``views`` section, for pydantic.

    Parameters
    ----------
    steps : Mapping[str, type[Step]]
        The steps by name.
    policies : Mapping[str, tuple[Step, ...]]
        The policies that have a name.
    order : str
        What to do, where steps do not stand in the order of their ranks.
    """
    listed: Any = tuple[Annotated[Step, Choice(steps)], ...]
    named = Annotated[str, WithJsonSchema({"type": "string", "enum": list(policies)})]
    return Annotated[
        listed,
        BeforeValidator(_named_in(policies), json_schema_input_type=listed | named),
        AfterValidator(_ordered_by(order)),
    ]


def _named_in(policies: Mapping[str, tuple[Step, ...]]) -> Callable[[Any], Any]:
    def steps_of(value: Any) -> Any:
        if isinstance(value, str):
            if value not in policies:
                raise ValueError(f"there is no such policy; {nearest(value, list(policies))}")
            return policies[value]
        return tuple(value) if isinstance(value, list) else value

    return steps_of


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
