"""The tables of a run folder, read back: who has which images, and δ."""

import csv
import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedssl.config_file import ConfigError
from fedssl.partitions import Counts

_COLUMNS = ["client", "class", "images"]
_ENCODER = "encoder."
_STATISTICS = (".running_mean", ".running_var")


@dataclass(frozen=True)
class Divergence:
    """What a ``divergence.csv`` tells of δ, the cosine of a client's tensor with the global one."""

    tensors: list[str]
    """The L names, in the model's order."""
    rounds: list[int]
    """The R rounds that have it: those that were evaluated."""
    deltas: np.ndarray
    """float [L, R]: the mean δ over the clients of a round; NaN where there is none."""
    drift: dict[int, float]
    """Each client's mean 1 − δ over its rounds and the encoder's trained tensors.

    BatchNorm's running statistics are left out: they tell the client's images apart, whether or not
    its weights went elsewhere."""


def whole_lines(path: Path) -> Iterator[str]:
    """Yield a file's lines but for a last one that is still being written.

    Raises
    ------
    ConfigError
        There is no such file.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing: the run folder is not whole")
    with path.open(encoding="utf-8", newline="") as file:
        for line in file:
            if line.endswith("\n"):
                yield line


def read_partition(path: Path) -> tuple[Counts, list[str]]:
    """Return the counts of a ``partition.csv``, and the names of their classes, sorted.

    Raises
    ------
    ConfigError
        It is missing or cannot be read.
    """
    found: dict[str, int] = {}
    # Not lists: there may be millions of lines.
    client, label, images = array("q"), array("q"), array("q")
    for number, row in enumerate(csv.reader(whole_lines(path)), start=1):
        try:
            if number == 1:
                if row not in (_COLUMNS, [*_COLUMNS, "name"]):
                    raise ValueError("another heading")
                continue
            who, name, count, *_ = row
            client.append(int(who))
            images.append(int(count))
            label.append(found.setdefault(name, len(found)))
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{path}, line {number}, is not client,class,images") from error
    names = sorted(found, key=in_order)
    places = np.empty(len(names), np.int64)
    places[[found[name] for name in names]] = np.arange(len(names))
    shape = 1 + max(client, default=-1), len(names)
    table = Counts(shape, np.asarray(client), places[np.asarray(label)], np.asarray(images))
    return table, names


def in_order(class_name: str) -> tuple[bool, list[int | str]]:
    """Return what sorts class 10 after 9, and what has no label last."""
    parts = re.split(r"([0-9]+)", class_name)
    return class_name == "unlabelled", [int(p) if i % 2 else p for i, p in enumerate(parts)]


class _Mean:
    def __init__(self) -> None:
        self._total, self._count = 0.0, 0

    def add(self, value: float) -> None:
        self._total += value
        self._count += 1

    def value(self) -> float:
        return self._total / self._count


def read_divergence(path: Path) -> Divergence:
    """Return what a ``divergence.csv`` tells, which has no rows before a round was evaluated.

    Raises
    ------
    ConfigError
        It is missing or cannot be read.
    """
    # Line by line into sums: there may be millions of them.
    cells: dict[tuple[str, int], _Mean] = {}
    clients: dict[int, _Mean] = {}
    for number, row in enumerate(csv.reader(whole_lines(path)), start=1):
        try:
            if number == 1:
                if row != ["round", "client", "tensor", "divergence"]:
                    raise ValueError("another heading")
                continue
            server_round, client, tensor, delta = int(row[0]), int(row[1]), row[2], float(row[3])
            if server_round < 1:
                raise ValueError("rounds count from 1")
        except (IndexError, ValueError) as error:
            message = f"{path}, line {number}, is not round,client,tensor,divergence"
            raise ConfigError(message) from error
        cells.setdefault((tensor, server_round), _Mean()).add(delta)
        if tensor.startswith(_ENCODER) and not tensor.endswith(_STATISTICS):
            clients.setdefault(client, _Mean()).add(1 - delta)
    tensors = {name: place for place, name in enumerate(dict.fromkeys(n for n, _ in cells))}
    rounds = {number: place for place, number in enumerate(sorted({r for _, r in cells}))}
    deltas = np.full((len(tensors), len(rounds)), math.nan)
    for (tensor, server_round), mean in cells.items():
        deltas[tensors[tensor], rounds[server_round]] = mean.value()
    drift = {client: mean.value() for client, mean in sorted(clients.items())}
    return Divergence(list(tensors), list(rounds), deltas, drift)
