"""Checkpoints of a run: written atomically after every round, with checksums."""

import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError

from fedssl.base.files import make_folder, sync_folder
from fedssl.base.plain_files import open_regular_file
from fedssl.model_state import State, load_state, save_state
from simulations.record.files import replace_text
from simulations.record.members import MemberChange

VERSION = 3
"""The version of ``checkpoint.json`` where clients come and go."""
VERSION_BEFORE = 2
"""The version of all others, without members. Version 1, without checksums, is read, too."""

_NAME = re.compile(r"(?:model|strategy|client-\d+)-round-(\d+)\.safetensors")
_CHUNK = 1 << 20
_LONGEST = 1 << 30
"""The most bytes of an index; that of ten million clients has fewer."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a finished round."""

    round: int
    """The last finished round; 0 is the untrained model."""
    model: State
    """The tensors of the global model."""
    strategy: State = field(default_factory=dict)
    """The strategy's state between rounds."""
    clients: Mapping[int, State] = field(default_factory=dict)
    """The private state of each client that has one."""
    members: tuple[MemberChange, ...] = ()
    """The members by round, where clients come and go."""


class NewerVersionError(ValueError):
    """A newer fedssl wrote the checkpoint, so that this one cannot read it."""


# Not models of pydantic: there is one for each client.
@dataclass(frozen=True, slots=True)
class _Part:
    """A file of a checkpoint."""

    file: Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
    crc32: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None
    """None in the first version."""


@dataclass(frozen=True)
class _Generation:
    """The content of an index file: the files of one checkpoint."""

    round: Annotated[int, Field(ge=0, strict=True)]
    model: _Part
    strategy: _Part | None
    clients: dict[int, _Part]
    members: tuple[MemberChange, ...] = ()

    def parts(self) -> Iterator[_Part]:
        yield self.model
        if self.strategy:
            yield self.strategy
        yield from self.clients.values()

    def text(self) -> str:
        def entry(part: _Part) -> dict[str, str | None]:
            return {"file": part.file, "crc32": part.crc32}

        content: dict[str, Any] = {
            "version": VERSION if self.members else VERSION_BEFORE,
            "round": self.round,
            "model": entry(self.model),
            "strategy": entry(self.strategy) if self.strategy else None,
            "clients": {str(client): entry(part) for client, part in self.clients.items()},
        }
        if self.members:
            content["members"] = [
                {
                    "round": change.round,
                    "members": {
                        str(client): examples for client, examples in change.members.items()
                    },
                }
                for change in self.members
            ]
        return json.dumps(content | {"crc32": _checksum(content)}, indent=1) + "\n"


_GENERATION = TypeAdapter(_Generation)


class CheckpointFolder:
    """The folder ``checkpoint/`` of a run.

    It holds two checkpoints, that of the last finished round and the one before. `checkpoint.json`
    names the files of the newest, with a CRC-32 of each and of itself, and is replaced last;
    `checkpoint-before.json` does the same for the one before. A client's private state is written
    only in the rounds that it took part in, so the cost of a round depends on its cohort; the two
    checkpoints share the files of all other clients. If any part of a checkpoint is damaged, the
    one before is used.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._index = folder / "checkpoint.json"
        self._index_before = folder / "checkpoint-before.json"
        self._indexes = (self._index, self._index_before)
        self._good: _Generation | None = None

    def save(self, checkpoint: Checkpoint, changed: set[int]) -> None:
        """Write a checkpoint; only the private states of the clients in ``changed`` are written.

        Raises
        ------
        WriteError
            It cannot be written; the existing checkpoints stay.
        """
        make_folder(self.folder)
        number, before = checkpoint.round, self._good or self._newest_index()
        written: list[_Part] = []

        def write(kind: str, state: State) -> _Part:
            name = f"{kind}-round-{number}.safetensors"
            crc32 = f"{save_state(self.folder / name, state, {}):08x}"
            written.append(_Part(name, crc32))
            return written[-1]

        try:
            clients = {
                client: part
                for client, part in (before.clients if before else {}).items()
                if client in checkpoint.clients
            }
            for client in sorted(changed & checkpoint.clients.keys()):
                clients[client] = write(f"client-{client}", checkpoint.clients[client])
            model = write("model", checkpoint.model)
            strategy = write("strategy", checkpoint.strategy) if checkpoint.strategy else None
            generation = _Generation(number, model, strategy, clients, checkpoint.members)
            if before:
                replace_text(self._index_before, before.text())
            # The files reach the disk before the index that names them, and the index before older
            # files are removed.
            sync_folder(self.folder)
            replace_text(self._index, generation.text())
            sync_folder(self.folder)
        except BaseException:
            # Their space may be what the disk lacks.
            self._remove(part.file for part in written if part not in _parts(before))
            raise
        self._good = generation
        self._remove_all_but(_parts(generation, before))

    def tidy(self) -> None:
        """Remove files that a killed writer left; only for the process that holds the lock."""
        try:
            generations = [_read(i, _text(i)) for i in self._indexes if i.exists()]
        except ValueError:
            # Which files belong to a checkpoint is unknown; the next checkpoint removes the others.
            return
        if generations:
            self._remove_all_but(_parts(*generations))

    def clear(self) -> None:
        """Remove the checkpoints, if there are any, and nothing else."""
        self._good = None
        if self.folder.is_dir():
            self._remove(index.name for index in self._indexes)
            self._remove_all_but(set())

    def round(self) -> int | None:
        """Return the round of the newest checkpoint without loading it; None where there is none.

        Raises
        ------
        ValueError
            There are checkpoints, but none can be read.
        """
        newest = self._newest_index()
        return newest.round if newest else None

    def load(self, on_message: Callable[[str], None] = lambda _: None) -> Checkpoint | None:
        """Return the newest undamaged checkpoint.

        Parameters
        ----------
        on_message : Callable[[str], None]
            Called with a message where the newest is damaged, so that the one before is returned.

        Returns
        -------
        Checkpoint | None
            The checkpoint; None where no round was finished.

        Raises
        ------
        NewerVersionError
            A newer fedssl wrote it.
        ValueError
            There are checkpoints, but each is incomplete or damaged.
        """
        failures: list[str] = []
        for index in self._indexes:
            if (loaded := self._try(index, failures)) is None:
                continue
            self._good, checkpoint = loaded
            if failures:
                on_message(
                    f"{self.folder}: the checkpoint is damaged: {failures[0]}; going on from the "
                    f"one before, of round {checkpoint.round}"
                )
            return checkpoint
        if not self._is_begun():
            return None
        raise ValueError(
            f"{self.folder}: the checkpoint is damaged: {failures[0]}; and there is no good one "
            f"before it: {failures[1]}"
        )

    def _try(self, index: Path, failures: list[str]) -> tuple[_Generation, Checkpoint] | None:
        """Load the checkpoint of an index; where that fails, add the reason to ``failures``."""
        while True:
            text = _text(index)
            try:
                generation = _read(index, text)
                return generation, self._load(generation)
            except (NewerVersionError, MemoryError):
                raise
            # A library may raise any exception for a damaged file.
            except Exception as error:
                # A running process may replace the index and remove old files meanwhile.
                if text == _text(index):
                    failures.append(str(error))
                    return None

    def _load(self, generation: _Generation) -> Checkpoint:
        strategy = generation.strategy
        return Checkpoint(
            round=generation.round,
            model=self._state(generation.model),
            strategy=self._state(strategy) if strategy else {},
            clients={client: self._state(part) for client, part in generation.clients.items()},
            members=generation.members,
        )

    def _state(self, part: _Part) -> State:
        path = self.folder / part.file
        try:
            if part.crc32 is not None and part.crc32 != _crc32_of(path):
                raise ValueError("it is not what was written, by its checksum")
            return load_state(path)[0]
        except FileNotFoundError:
            raise ValueError(f"{part.file} is missing") from None
        except (OSError, ValueError, SafetensorError) as error:
            raise ValueError(f"{part.file}: {error}") from error

    def _newest_index(self) -> _Generation | None:
        failures = []
        for index in self._indexes:
            try:
                return _read(index, _text(index))
            except NewerVersionError:
                raise
            except ValueError as error:
                failures.append(str(error))
        if self._is_begun():
            raise ValueError(f"{self.folder}: the checkpoint is damaged: {'; '.join(failures)}")
        return None

    def _is_begun(self) -> bool:
        """Return whether a checkpoint was begun; the first has no index until it is complete."""
        if self._index.exists() or self._index_before.exists():
            return True
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return any(int(match[1]) > 0 for name in names if (match := _NAME.fullmatch(name)))

    def _remove_all_but(self, parts: set[_Part]) -> None:
        wanted = {part.file for part in parts}
        existing = [path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        self._remove(name for name in existing if name not in wanted)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


def _parts(*generations: _Generation | None) -> set[_Part]:
    return {part for generation in generations if generation for part in generation.parts()}


def _text(index: Path) -> bytes | None:
    if not os.path.lexists(index):
        return None
    with open_regular_file(index) as file:
        return file.read(_LONGEST)


def _read(index: Path, text: bytes | None) -> _Generation:
    """Return the content of an index; raise a ValueError where it is invalid."""
    if text is None:
        raise ValueError(f"{index.name} is missing")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{index.name} is not whole") from None
    if not isinstance(content, dict):
        raise ValueError(f"{index.name} names no files")
    version = content.pop("version", 1)
    if "crc32" in content or version != 1:
        checksum = content.pop("crc32", None)
        if checksum != _checksum({"version": version, **content}):
            raise ValueError(f"{index.name} is not what was written, by its checksum")
        if version not in (VERSION_BEFORE, VERSION):
            raise NewerVersionError(
                f"{index}: has version {version}, this fedssl reads up to {VERSION}: update it"
            )
    else:
        content = _from_first_version(content)
    try:
        generation = _GENERATION.validate_python(content)
    except ValidationError:
        raise ValueError(f"{index.name} names no files of a checkpoint") from None
    if generation.model.file != f"model-round-{generation.round}.safetensors":
        raise ValueError(
            f"{index.name} is of round {generation.round} and names {generation.model.file}"
        )
    rounds = [change.round for change in generation.members]
    if rounds != sorted(set(rounds)) or any(number > generation.round for number in rounds):
        raise ValueError(f"{index.name} names members of rounds that are not in order")
    for client, part in generation.clients.items():
        if not part.file.startswith(f"client-{client}-round-"):
            raise ValueError(f"{index.name} names {part.file} for client {client}")
    return generation


def _from_first_version(content: Mapping[str, Any]) -> dict[str, Any]:
    def entry(name: object) -> dict[str, object] | None:
        return None if name is None else {"file": name, "crc32": None}

    clients = content.get("clients")
    return {
        **content,
        "model": entry(content.get("model")),
        "strategy": entry(content.get("strategy")),
        "clients": {client: entry(name) for client, name in clients.items()}
        if isinstance(clients, dict)
        else None,
    }


def _checksum(content: Mapping[str, Any]) -> str:
    """Return the CRC-32 of a JSON value, independent of its layout."""
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(plain.encode()):08x}"


def _crc32_of(path: Path) -> str:
    crc32 = 0
    if not os.path.lexists(path):
        raise FileNotFoundError(path)
    with open_regular_file(path) as file:
        while chunk := file.read(_CHUNK):
            crc32 = zlib.crc32(chunk, crc32)
    return f"{crc32:08x}"
