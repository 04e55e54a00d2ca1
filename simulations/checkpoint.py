"""What a run needs to go on: written after every round, whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedssl.state import State, load_state, save_state
from simulations.files import replace_text


@dataclass(frozen=True)
class Checkpoint:
    """A run after a finished round."""

    round: int
    """The last finished round; 0 is the untrained model."""
    model: State
    """The federated tensors."""
    strategy: State = field(default_factory=dict)
    """What the strategy keeps on the server between rounds."""
    clients: Mapping[int, State] = field(default_factory=dict)
    """The private state of each client that has one."""


class CheckpointFolder:
    """The folder ``checkpoint/`` of a run.

    `checkpoint.json` names the files of the current generation and is replaced last, by renaming;
    until then the generation before it stands untouched. Only the clients that changed are
    written, so a round costs what its cohort weighs, not what all clients do.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._index = folder / "checkpoint.json"

    def save(self, checkpoint: Checkpoint, changed: set[int]) -> None:
        """Write a checkpoint; the private states of clients not in ``changed`` stay as they are."""
        self.folder.mkdir(exist_ok=True)
        number = checkpoint.round
        files: dict[str, str] = self._read()["clients"] if self._index.exists() else {}
        for client in sorted(changed & checkpoint.clients.keys()):
            files[str(client)] = f"client-{client}-round-{number}.safetensors"
            save_state(self.folder / files[str(client)], checkpoint.clients[client], {})
        index: dict[str, Any] = {
            "round": number,
            "model": f"model-round-{number}.safetensors",
            "strategy": f"strategy-round-{number}.safetensors" if checkpoint.strategy else None,
            "clients": files,
        }
        save_state(self.folder / index["model"], checkpoint.model, {})
        if index["strategy"]:
            save_state(self.folder / index["strategy"], checkpoint.strategy, {})
        replace_text(self._index, json.dumps(index, indent=1))
        current = {self._index.name, index["model"], index["strategy"], *files.values()}
        for old in self.folder.iterdir():
            if old.name not in current:
                old.unlink()

    def round(self) -> int | None:
        """Return the round of the newest checkpoint without loading it; None where there is none.

        A ValueError says that it is damaged.
        """
        return int(self._read()["round"]) if self._index.exists() else None

    def load(self) -> Checkpoint | None:
        """Return the newest checkpoint, or None where no round was finished.

        Raises
        ------
        ValueError
            A file of it is missing or damaged.
        """
        if not self._index.exists():
            return None
        try:
            index = self._read()
            return Checkpoint(
                round=index["round"],
                model=self._load(index["model"]),
                strategy=self._load(index["strategy"]) if index["strategy"] else {},
                clients={
                    int(client): self._load(file) for client, file in index["clients"].items()
                },
            )
        except Exception as error:
            raise ValueError(f"{self.folder}: the checkpoint is damaged: {error}") from error

    def _load(self, name: str) -> State:
        return load_state(self.folder / name)[0]

    def _read(self) -> dict[str, Any]:
        index: dict[str, Any] = json.loads(self._index.read_text())
        return index
