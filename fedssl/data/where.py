"""Choose examples by the values of a column, such as their domain."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from fedssl.base.fields import suggest_name
from fedssl.data.dataset import Dataset
from fedssl.data.listing import Listing


def _texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _texts(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(_text, value))
    return (_text(value),)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Where = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_texts)]
"""Columns, and the values of each that are wanted."""


def names_of(part: Dataset | Listing, column: str) -> tuple[list[str], np.ndarray]:
    """Return the values of a column that examples have, by name, and each one's number."""
    values = np.unique(part.fields[column])
    names = part.field_names.get(column)
    return [str(v) if names is None else names[v] for v in values.tolist()], values


def chosen(part: Dataset | Listing, where: Mapping[str, Sequence[str]], what: str) -> np.ndarray:
    """Return the places of the examples that have one of the wanted values in every column.

    Parameters
    ----------
    part : Dataset | Listing
        The examples.
    where : Mapping[str, Sequence[str]]
        Columns, and the values of each that are wanted.
    what : str
        The field that errors name, such as ``data.where``.

    Returns
    -------
    np.ndarray
        int64 [M], ascending.

    Raises
    ------
    ValueError
        There is no such column or value, or no example left.
    """
    selected = np.ones(len(part.labels), bool)
    for column, wanted in where.items():
        if column not in part.fields:
            columns = ", ".join(sorted(part.fields))
            raise ValueError(
                f"{what}.{column}: the examples have "
                + (f"the columns {columns}" if columns else "no columns to choose by")
            )
        names, values = names_of(part, column)
        for name in wanted:
            if name not in names:
                raise ValueError(
                    f"{what}.{column} = {name}: there is no such value; {suggest_name(name, names)}"
                )
        numbers = [v for name, v in zip(names, values.tolist(), strict=True) if name in wanted]
        selected &= np.isin(part.fields[column], numbers)
    if where and not selected.any():
        raise ValueError(f"{what}: no example is left; name more values")
    return np.flatnonzero(selected)
