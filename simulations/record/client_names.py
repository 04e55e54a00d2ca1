"""The names of a run's clients, where their data gave them names."""

import csv
from contextlib import closing
from pathlib import Path

from fedssl.base.config_file import ConfigError
from simulations.record.tables import whole_lines

LONGEST = 24


def read_client_names(path: Path) -> list[str]:
    """Return the clients' names from a ``partition.csv``; an empty list where it has none."""
    names: dict[int, str] = {}
    try:
        with closing(whole_lines(path)) as lines:
            rows = csv.DictReader(lines)
            if "name" not in (rows.fieldnames or ()):
                return []
            for row in rows:
                names[int(row["client"])] = row["name"]
    except (ConfigError, ValueError, KeyError, TypeError, csv.Error):
        return []
    return [names.get(client, str(client)) for client in range(1 + max(names, default=-1))]


def short(name: str) -> str:
    """Return a name, shortened to fit beside a bar of a plot.

    >>> short("hospital")
    'hospital'
    """
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
