"""What all conformance kits share: how a plug-in is found, documented, and watched at work."""

import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic_core import PydanticUndefined
from torch import Tensor

from fedssl.base.fields import Fields
from fedssl.base.import_path import NotFoundError, load_dotted
from fedssl.base.registry import Registry, config_of, first_line, names_of
from fedssl.model_state import State, clone, load_state, save_state

Kind = TypeVar("Kind")

LONGEST_LINE = 100
"""The first line of a docstring, which `fedssl list` prints, is shorter."""
FAR = 1e-4
"""What may differ by rounding differs at most by so much, as a share of the largest value."""


def require(holds: bool, message: str) -> None:
    """Raise an AssertionError that says what breaks the contract, where it is not kept."""
    if not holds:
        raise AssertionError(message)


def same(first: Tensor, second: Tensor) -> bool:
    """Tell whether two tensors have the same bits; what is not there (NaN) is the same, too."""
    return (
        first.shape == second.shape
        and first.dtype == second.dtype
        and torch.equal(torch.nan_to_num(first), torch.nan_to_num(second))
        and torch.equal(first.isnan(), second.isnan())
    )


def close(first: Tensor, second: Tensor) -> bool:
    """Tell whether two tensors differ by rounding alone."""
    if first.shape != second.shape or not torch.equal(first.isnan(), second.isnan()):
        return False
    if not first.numel():
        return True
    a, b = torch.nan_to_num(first), torch.nan_to_num(second)
    return bool((a - b).abs().max() <= FAR * a.abs().max().clamp(min=1))


def other_tensor(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> str | None:
    """Return the first tensor in which two states are not the same bits; None where there is none.

    A name that only one of them has counts.
    """
    if unshared := sorted(first.keys() ^ second.keys()):
        return unshared[0]
    return next((name for name, t in first.items() if not same(t, second[name])), None)


def require_same(first: Mapping[str, Tensor], second: Mapping[str, Tensor], message: str) -> None:
    """Raise an AssertionError that names the tensor in which two states differ."""
    name = other_tensor(first, second)
    require(name is None, f"{message}: see {name}")


def rng(seed: int = 0) -> torch.Generator:
    """Return a generator on the CPU."""
    return torch.Generator().manual_seed(seed)


@contextmanager
def nothing_drawn(by: str) -> Iterator[None]:
    """Refuse draws from the generators that torch, numpy and Python have for all."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        numpy_state, python_state = _numpys_state(), random.getstate()
        yield
        drawn = [
            name
            for name, is_same in (
                ("torch", torch.equal(before, torch.get_rng_state())),
                ("numpy", numpy_state == _numpys_state()),
                ("Python", python_state == random.getstate()),
            )
            if not is_same
        ]
    require(
        not drawn,
        f"{by} draws from {' and '.join(drawn)}'s global generator, so no run could be repeated: "
        "draw from the generator that it is given",
    )


def _numpys_state() -> tuple[bytes, int]:
    state = np.random.get_state(legacy=False)  # noqa: NPY002, as it is what nobody may use
    return state["state"]["key"].tobytes(), state["state"]["pos"]


@contextmanager
def unchanged(tensors: Mapping[str, Tensor], by: str, what: str) -> Iterator[None]:
    """Refuse that tensors which are only to be read are written to."""
    before = clone(tensors)
    yield
    require_same(before, tensors, f"{by} writes to {what}: copy them first")


def through_file(state: Mapping[str, Tensor]) -> State:
    """Return a state as it comes out of the file that it is kept in between two rounds."""
    if not state:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        save_state(Path(folder) / "state", state, {})
        loaded = load_state(Path(folder) / "state")[0]
        return clone({name: loaded[name] for name in state})


@dataclass(frozen=True)
class Plugin:
    """A plug-in that is checked."""

    name: str
    """By which a config chooses it: a name, or a dotted path."""
    found: type[Any]
    """The class."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """Those of its section, but for the name."""

    @property
    def section(self) -> dict[str, object]:
        """The section that chooses it, as a config has it."""
        return {"name": self.name, **self.fields}


def find_plugin(
    registry: Registry[Kind], given: type[Kind] | str, fields: Mapping[str, object]
) -> Plugin:
    """Find a plug-in by what a person has of it: its class, its name or its dotted path.

    Raises
    ------
    ValueError
        There is none such, or a class could not be found by a config.
    """
    if isinstance(given, str):
        return Plugin(given, registry.find(given), fields)
    where = f"{given.__module__}.{given.__qualname__}"
    registry.check(given, where)
    for name in names_of(given):
        if registry.builtin(name) is given:
            return Plugin(name, given, fields)
    try:
        reached = load_dotted(where)
    except NotFoundError:
        reached = None
    if reached is not given:
        raise ValueError(
            f"{where}: a config finds a class by its dotted path; define it at the top level of a "
            "module"
        )
    return Plugin(where, given, fields)


def check_documented(plugin: Plugin, *, optional: bool = True) -> None:
    """Check what `fedssl list` and the reference say of a plug-in, and that a section is complete.

    Parameters
    ----------
    plugin : Plugin
        The plug-in.
    optional : bool (default: True)
        Whether every field must have a default.
    """
    found, where = plugin.found, plugin.found.__qualname__
    line = first_line(found)
    require(bool(line), f"{where} has no docstring: `fedssl list` prints its first line")
    require(
        len(line) < LONGEST_LINE and line.endswith((".", "?")),
        f"{where}: the first line of its docstring must say when to use it in fewer than "
        f"{LONGEST_LINE} characters, and end in a full stop or a question mark: {line!r}",
    )
    config = config_of(found)
    require("name" in config.model_fields, f"{where}: its Config has no `name`")
    for name, described in config.model_fields.items():
        field_of = f"{where}: the field {name} of its Config"
        require(
            not optional or not described.is_required() or name == "name",
            f"{field_of} has no default: give one that works at first",
        )
        require(
            bool(described.description), f"{field_of} has no description: add one as its docstring"
        )
    default = config.model_fields["name"].default
    # The name of a family's member has two parts, and only the first is known.
    require(
        default is not PydanticUndefined or "/" in plugin.name,
        f"{where}: the field name of its Config has no default: the name that a config chooses",
    )


def check_section(section: Fields, where: str) -> None:
    """Check that a section travels as JSON: to clients, and into a run's folder."""
    again = type(section).model_validate(section.model_dump(mode="json"))
    require(again == section, f"{where}: its section is not what its JSON says: {section!r}")
