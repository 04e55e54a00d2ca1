"""Read the tables of a run's folder: its rounds, the clients' examples, and δ.

Their writer may have been killed, or the folder may come from a stranger: each line is checked, and
an invalid one is a ConfigError that names file and line. Only an incomplete last line, which may
still be being written, is left out without an error.
"""

import csv
import math
import re
import zipfile
from array import array
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from fedssl.base.config_file import ConfigError
from fedssl.base.plain_files import MEGABYTE, open_regular_file, parse_json, shorten
from fedssl.partitions import Counts

Row = dict[str, Any]
"""A row of ``metrics.jsonl``: the fields of `_Row`, and any other metrics."""

MEND = "put the file back from a copy, or make the run again under another --out"
"""The fix for a damaged file whose content is nowhere else in the folder."""

_ENCODER = "encoder."
_STATISTICS = (".running_mean", ".running_var")

_LONGEST_ROW = 64 * MEGABYTE
"""The most bytes of a row; that of a million clients has fewer."""
_LONGEST_LINE = MEGABYTE // 16
_MOST_CLIENTS = 2**26
_FEW_CLIENTS, _CLIENTS_A_LINE = 2**20, 64
_MOST_EXAMPLES = 2**40
_LONGEST_NAME = 1000
_MOST_DELTAS = 50_000_000
"""The most tensors times rounds; a table of so many takes 400 MB."""
_MOST_TEST_EXAMPLES = 50_000_000


@dataclass(frozen=True)
class Divergence:
    """The content of a ``divergence.csv``: δ, the cosine of a client's tensor with the global."""

    tensors: list[str]
    """The L names, in the model's order."""
    rounds: list[int]
    """The R rounds with δ: those that were evaluated."""
    deltas: np.ndarray
    """float [L, R]: the mean δ over the clients of a round; NaN where it is missing."""
    drift: dict[int, float]
    """Each client's mean 1 − δ over its rounds and the encoder's trained tensors.

    BatchNorm's running statistics are left out, since they differ with the client's examples even
    where its weights do not."""


Client = Annotated[int, Field(ge=0, lt=_MOST_CLIENTS)]
Bytes = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Row(BaseModel):
    """The fields of a row of ``metrics.jsonl``.

    A loss may be infinite or NaN, so that a diverged run can be read.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    round: int
    cohort: list[Client]
    failed: list[Client]
    bytes_up: Bytes
    bytes_down: Bytes
    seconds: Seconds
    failed_reasons: dict[str, Annotated[str, Field(max_length=_LONGEST_NAME)]] = {}
    clipped: Annotated[int, Field(ge=0)] = 0
    train_loss: float | None = None
    linear_accuracy: Share = 0.0
    linear_accuracy_recalibrated: Share = 0.0
    knn_accuracy: Share = 0.0
    rankme: float = 0.0
    train_seconds: Seconds = 0.0
    merge_seconds: Seconds = 0.0
    evaluate_seconds: Seconds = 0.0
    client_seconds: Seconds = 0.0

    @model_validator(mode="after")
    def _numbers_are_small(self) -> "_Row":
        for name, value in (self.model_extra or {}).items():
            if isinstance(value, int) and abs(value) >= 2**63:
                raise ValueError(f"{name} is no number of a sensible size")
        return self


_ROW = TypeAdapter(_Row)


def whole_lines(path: Path, longest: int = _LONGEST_LINE) -> Generator[str, None, None]:
    """Yield a file's complete lines; a last one without a line end is left out.

    Raises
    ------
    ConfigError
        There is no such file, or a line is not UTF-8 or has more than ``longest`` bytes.
    """
    if not path.exists() and not path.is_symlink():
        raise ConfigError(f"{path} is missing: the run folder is not whole; {MEND}")
    with open_regular_file(path) as file:
        # Not by iterating: a file without an end of line may be larger than the memory.
        for number, line in enumerate(iter(partial(file.readline, longest), b""), start=1):
            if not line.endswith(b"\n"):
                if len(line) == longest:
                    raise ConfigError(
                        f"{path}, line {number}: is longer than {longest:,} bytes; {MEND}"
                    )
                return
            try:
                yield line.decode()
            except UnicodeDecodeError:
                message = f"{path}, line {number}: is not a text in UTF-8; {MEND}"
                raise ConfigError(message) from None


def read_metrics(path: Path, last: int | None = None) -> list[Row]:
    """Return the rows of a ``metrics.jsonl``, from round 0, each round once and in order.

    Parameters
    ----------
    path : Path
        The file. An incomplete last line is left out.
    last : int | None (default: None)
        The last round to read, which must exist; None to read all.

    Raises
    ------
    ConfigError
        The file is missing, a line is no row of metrics, or a round is missing or duplicate.
    """
    rows: list[Row] = []
    with closing(whole_lines(path, _LONGEST_ROW)) as lines:
        for number, line in enumerate(lines):
            if last is not None and number > last:
                break
            rows.append(_row(line, f"{path}, line {number + 1}", number))
    if last is not None and len(rows) <= last:
        raise lost(path, rows, last)
    return rows


def lost(path: Path, rows: Sequence[Row], last: int) -> ConfigError:
    """Return the error for a file of metrics that ends before the last finished round."""
    end = f"ends with round {len(rows) - 1}" if rows else "has no row"
    return ConfigError(
        f"{path}: {end}, but the run has finished round {last}: rows are lost; {MEND}"
    )


def check_row(row: object, location: str) -> None:
    """Raise a ConfigError, which names the location, where a value is no row of metrics."""
    try:
        _ROW.validate_python(row)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(map(str, problem["loc"])) or "it"
        given = "" if problem["type"] == "missing" else f" = {shorten(problem['input'])}"
        raise ConfigError(
            f"{location}, is no row of metrics: {field}{given}: {problem['msg']}; {MEND}"
        ) from None


def _row(line: str, location: str, number: int) -> Row:
    row: Row = parse_json(line, location)
    check_row(row, location)
    if row["round"] != number:
        raise ConfigError(
            f"{location}: is of round {row['round']}, where round {number} is due: rows are lost, "
            f"twice there or in another order; {MEND}"
        )
    return row


def _table(
    path: Path,
    heading: Sequence[str],
    further: Sequence[str] = (),
    former: Sequence[str] = (),
) -> Generator[tuple[int, list[str]], None, None]:
    """Yield the number and the cells of each line of a CSV file below its heading.

    The heading may go on with ``further``; older versions of fedssl wrote it as ``former``.
    """
    with closing(whole_lines(path)) as lines:
        reader = csv.reader(lines, strict=True)
        try:
            first = next(reader, None)
            headings = [list(start) for start in (heading, former) if start]
            if first not in [*headings, *([*start, *further] for start in headings)]:
                problem = "is empty" if first is None else "has another heading"
                raise ConfigError(
                    f"{path}, line 1, is not {','.join(heading)}: it {problem}; {MEND}"
                )
            for row in reader:
                if further and len(row) != len(first):
                    raise ConfigError(
                        f"{path}, line {reader.line_num}, is not {','.join(first)}; {MEND}"
                    )
                yield reader.line_num, row
        except csv.Error as error:
            raise ConfigError(f"{path}, line {reader.line_num}: {error}; {MEND}") from None


_PARTITION = ("client", "class", "examples")
_PARTITION_OF_IMAGES = ("client", "class", "images")


def read_partition(path: Path) -> tuple[Counts, list[str]]:
    """Return the counts of a ``partition.csv``, and the names of their classes, sorted.

    Raises
    ------
    ConfigError
        It is missing or cannot be read.
    """
    indices: dict[str, int] = {}
    # Not lists: there may be millions of lines.
    client, label, examples = array("q"), array("q"), array("q")
    for number, row in _table(path, _PARTITION, ["name"], _PARTITION_OF_IMAGES):
        try:
            number_text, name, count = row[:3]
            client.append(_within(number_text, 0, _MOST_CLIENTS))
            examples.append(_within(count, 1, _MOST_EXAMPLES))
            if len(name) > _LONGEST_NAME:
                raise ValueError(f"a class's name has more than {_LONGEST_NAME} letters")
            label.append(indices.setdefault(name, len(indices)))
        except ValueError as error:
            raise _no_line(path, number, _PARTITION, error) from None
    clients = 1 + max(client, default=-1)
    # Its size in memory grows with the largest number, so a few lines must not make it large.
    if clients > max(_FEW_CLIENTS, _CLIENTS_A_LINE * len(client)):
        raise ConfigError(
            f"{path}: names client {clients - 1:,} in {len(client):,} lines, so most clients would "
            f"have no examples; {MEND}"
        )
    names = sorted(indices, key=in_order)
    order = np.empty(len(names), np.int64)
    order[[indices[name] for name in names]] = np.arange(len(names))
    shape = clients, len(names)
    table = Counts(shape, np.asarray(client), order[np.asarray(label)], np.asarray(examples))
    _check_cells(path, table, names)
    return table, names


def has_partition(path: Path) -> bool:
    """Return whether a ``partition.csv`` has any rows; it has none where examples are on devices.

    Raises
    ------
    ConfigError
        The file is missing, or its first lines cannot be read.
    """
    with closing(_table(path, _PARTITION, ["name"], _PARTITION_OF_IMAGES)) as lines:
        return next(lines, None) is not None


def _check_cells(path: Path, table: Counts, names: Sequence[str]) -> None:
    """Raise a ConfigError for a duplicate pair of client and class."""
    order = np.lexsort((table.label, table.client))
    clients, labels = table.client[order], table.label[order]
    duplicates = np.flatnonzero((np.diff(clients) == 0) & (np.diff(labels) == 0))
    if len(duplicates):
        row = duplicates[0]
        raise ConfigError(
            f"{path}: client {clients[row]} has class {shorten(names[labels[row]])} twice; {MEND}"
        )


def _within(text: str, least: int, end: int) -> int:
    number = int(text)
    if not least <= number < end:
        raise ValueError(f"{shorten(text)} is not from {least} to {end - 1}")
    return number


def _no_line(path: Path, number: int, heading: Sequence[str], error: ValueError) -> ConfigError:
    return ConfigError(f"{path}, line {number}, is not {','.join(heading)}: {error}; {MEND}")


def in_order(class_name: str) -> tuple[bool, list[int | str]]:
    """Return a key that sorts class 10 after class 9, and ``unlabelled`` last.

    >>> sorted(["10", "9", "unlabelled"], key=in_order)
    ['9', '10', 'unlabelled']
    """
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


_Line = tuple[int, int, str, float]
"""Round, client, tensor and δ."""


def _deltas(path: Path, last: int | None) -> Iterator[_Line]:
    """Yield the checked lines of a ``divergence.csv`` up to a round."""
    heading = ["round", "client", "tensor", "divergence"]
    round_before = 1
    for number, row in _table(path, heading):
        try:
            round_text, client_text, tensor, delta = row
            server_round = _within(round_text, 1, 2**31)
            client = _within(client_text, 0, _MOST_CLIENTS)
            if last is not None and server_round > last:
                return
            if server_round < round_before:
                raise ValueError(f"round {server_round} comes after round {round_before}")
            if not 0 < len(tensor) <= _LONGEST_NAME:
                raise ValueError("it names no tensor")
            # Six digits of a cosine.
            if not abs(value := float(delta)) <= 1.00001:
                raise ValueError(f"{shorten(delta)} is no cosine")
        except ValueError as error:
            raise _no_line(path, number, heading, error) from None
        round_before = server_round
        yield server_round, client, tensor, value


def _by_client(path: Path, last: int | None) -> Iterator[tuple[int, int, dict[str, float]]]:
    """Yield round, client, and δ of its tensors; raise a ConfigError for duplicates."""
    clients: set[int] = set()
    round_before = 0
    lines = _deltas(path, last)
    for (server_round, client), group in groupby(lines, key=lambda line: line[:2]):
        clients = clients if server_round == round_before else set()
        deltas: dict[str, float] = {}
        is_duplicate = client in clients
        for _, _, tensor, delta in group:
            is_duplicate = is_duplicate or tensor in deltas
            deltas[tensor] = delta
        if is_duplicate:
            raise ConfigError(
                f"{path}: client {client} is in round {server_round} twice, or a tensor of it; "
                f"{MEND}"
            )
        clients.add(client)
        round_before = server_round
        yield server_round, client, deltas


def read_divergence(path: Path, last: int | None = None) -> Divergence:
    """Return the content of a ``divergence.csv``; it has rows only of evaluated rounds.

    Parameters
    ----------
    path : Path
        The file.
    last : int | None (default: None)
        The last round to read, since later ones are not finished; None to read all.

    Raises
    ------
    ConfigError
        It is missing or cannot be read.
    """
    # Summed client by client, since there may be millions of them.
    cells: dict[tuple[str, int], _Mean] = {}
    clients: dict[int, _Mean] = {}
    for server_round, client, deltas in _by_client(path, last):
        for tensor, delta in deltas.items():
            cells.setdefault((tensor, server_round), _Mean()).add(delta)
            if tensor.startswith(_ENCODER) and not tensor.endswith(_STATISTICS):
                clients.setdefault(client, _Mean()).add(1 - delta)
    tensors = {name: place for place, name in enumerate(dict.fromkeys(n for n, _ in cells))}
    rounds = {number: place for place, number in enumerate(sorted({r for _, r in cells}))}
    if len(tensors) * len(rounds) > _MOST_DELTAS:
        raise ConfigError(
            f"{path}: names {len(tensors):,} tensors in {len(rounds):,} rounds, more than "
            f"{_MOST_DELTAS:,} δ; {MEND}"
        )
    table = np.full((len(tensors), len(rounds)), math.nan)
    for (tensor, server_round), mean in cells.items():
        table[tensors[tensor], rounds[server_round]] = mean.value()
    drift = {client: mean.value() for client, mean in sorted(clients.items())}
    return Divergence(list(tensors), list(rounds), table, drift)


def check_divergence(path: Path, expected: Mapping[int, Collection[int]], last: int) -> None:
    """Raise a ConfigError where a ``divergence.csv`` lacks rows up to a round.

    Parameters
    ----------
    path : Path
        The file.
    expected : Mapping[int, Collection[int]]
        Maps each evaluated round to the clients whose δ it must have.
    last : int
        The last finished round.

    Raises
    ------
    ConfigError
        Rows are lost, duplicate, in another order, or cannot be read.
    """
    tensors: dict[tuple[int, int], int] = {
        (server_round, client): len(deltas)
        for server_round, client, deltas in _by_client(path, last)
    }
    most = max(tensors.values(), default=1)
    for server_round, clients in expected.items():
        for client in clients:
            if tensors.get((server_round, client), 0) < most:
                raise ConfigError(
                    f"{path}: lacks rows of client {client} in round {server_round}, which is "
                    f"finished: they are lost; {MEND}"
                )


def read_predictions(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ``predictions.npz``, int64 [M] each; other arrays are not read.

    Raises
    ------
    ConfigError
        The file is missing or holds something else. Objects are never unpickled, and memory for an
        array is only allocated once the file is known to contain it.
    """
    try:
        with open_regular_file(path) as file, zipfile.ZipFile(file) as archive:
            arrays = {
                name: _labels(archive, info)
                for name in PREDICTIONS
                for info in archive.infolist()
                if info.filename == f"{name}.npy"
            }
    except ConfigError:
        raise
    # zipfile, zlib, struct and numpy raise many classes.
    except Exception as error:
        raise ConfigError(
            f"{path}: is no .npz file of predictions: {error or type(error).__name__}; {MEND}"
        ) from None
    if "label" not in arrays:
        raise ConfigError(f"{path}: has no array `label`; {MEND}")
    if len({len(array) for array in arrays.values()}) > 1:
        raise ConfigError(f"{path}: its arrays differ in length; {MEND}")
    return arrays


PREDICTIONS = ("label", "untrained", "final")
"""The arrays of ``predictions.npz``: the test examples' labels and their predictions."""


def _labels(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Return one array; raise a ValueError where it is invalid."""
    with archive.open(info) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{info.filename} is of another version of numpy's format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.int64 or len(shape) != 1:
            raise ValueError(f"{info.filename} is {dtype} {list(shape)}, not int64 [M]")
        size = 8 * shape[0]
        if shape[0] > _MOST_TEST_EXAMPLES or size > info.file_size:
            raise ValueError(
                f"{info.filename} claims {shape[0]:,} examples, which it does not hold"
            )
        content = file.read(size)
        if len(content) < size:
            raise ValueError(f"{info.filename} is cut short")
    return np.frombuffer(content, np.int64)
