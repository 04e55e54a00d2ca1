"""A round just before its merge, as a folder keeps it: the model sent, and every reply."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flwr.app import Message, MetricRecord, RecordDict
from safetensors import SafetensorError

from fedssl.config_file import ConfigError
from fedssl.files import make_folder
from fedssl.state import State, load_state, save_state
from simulations.checkpoint import Checkpoint, CheckpointFolder
from simulations.engines import flower_private
from simulations.files import replace_text
from strategies.messages import (
    ARRAYS,
    METRICS,
    arrays_of,
    config_of,
    metrics_of,
    to_record,
    to_state,
)


class Moment:
    """The folder of a round: ``checkpoint/``, ``replies/`` and, written last, ``replies.json``.

    The checkpoint has the model that was sent and the strategy's state, both of before the round,
    and what the clients kept after they had trained.
    """

    def __init__(self, path: Path):
        self.path = path
        self._checkpoint = CheckpointFolder(path / "checkpoint")
        self._replies = path / "replies"
        self._index = path / "replies.json"

    def is_whole(self) -> bool:
        """Say whether all replies are there."""
        return self._index.exists()

    def begin(self) -> None:
        """Empty it; it is not whole until `finish`."""
        self._index.unlink(missing_ok=True)
        self._checkpoint.clear()
        make_folder(self._replies)
        for file in self._replies.iterdir():
            file.unlink()

    def add(self, client: int, reply: Message) -> dict[str, Any]:
        """Keep a reply's model; return what `finish` is to be told of the rest."""
        if reply.has_error():
            return {"client": client, "error": reply.error.reason or "no reason given"}
        save_state(self._file(client), to_state(arrays_of(reply.content)), {})
        return {"client": client, "metrics": dict(metrics_of(reply.content))}

    def finish(
        self,
        before: Checkpoint,
        replies: list[dict[str, Any]],
        row: Mapping[str, object],
        decay: float | None,
    ) -> None:
        """Write all but the models.

        Parameters
        ----------
        before : Checkpoint
            Of the round before, with what the clients kept after this one.
        replies : list[dict[str, Any]]
            What `add` returned, in cohort order.
        row : Mapping[str, object]
            What the run's own strategy made of the round.
        decay : float | None
            That of the sensitivity that clients were asked for.
        """
        self._checkpoint.save(before, changed=set(before.clients))
        index = {
            "round": before.round + 1,
            "sensitivity_decay": decay,
            "row": dict(row),
            "replies": replies,
        }
        replace_text(self._index, json.dumps(index, indent=1) + "\n")

    def before(self) -> Checkpoint:
        """Return the checkpoint; a ConfigError says that it is damaged."""
        try:
            found = self._checkpoint.load()
        except ValueError as error:
            raise ConfigError(f"{error}; remove {self.path}, and it is made again") from error
        assert found is not None
        return found

    @property
    def round(self) -> int:
        """The round."""
        return int(self._read()["round"])

    @property
    def decay(self) -> float | None:
        """That of the sensitivity in the replies; None where they have none."""
        found: float | None = self._read()["sensitivity_decay"]
        return found

    @property
    def row(self) -> dict[str, Any]:
        """What the run's own strategy made of the round."""
        found: dict[str, Any] = self._read()["row"]
        return found

    @property
    def cohort(self) -> list[int]:
        """All clients that were asked, in the order in which they are merged."""
        return [reply["client"] for reply in self._read()["replies"]]

    def models(self) -> Iterator[tuple[int, int, State]]:
        """Yield client, number of images and model of each that did not fail, one at a time."""
        for reply in self._read()["replies"]:
            if "metrics" in reply:
                client = reply["client"]
                yield client, reply["metrics"]["num-examples"], self._model(client)

    def answer(self, message: Message) -> Message:
        """Return a client's reply as if it had been made to this message.

        What the message has stay on the client is left out.

        Raises
        ------
        ValueError
            The message asks for a tensor that the reply lacks.
        """
        client = message.metadata.dst_node_id - 1
        kept = next(reply for reply in self._read()["replies"] if reply["client"] == client)
        # A reply refers to its message by an id, which engines give when they send it.
        flower_private.number(message, f"replayed {client}")
        if "metrics" not in kept:
            return flower_private.error_reply(message, kept["error"])
        model = self._model(client)
        config = config_of(message.content)
        held_back = config.get("withheld", ())
        withheld = held_back if isinstance(held_back, list) else ()
        wanted = [n for n in arrays_of(message.content) if n not in withheld]
        if missing := [name for name in wanted if name not in model]:
            raise ValueError(
                f"client {client}'s reply has no {missing[0]}, which the run's own strategy left "
                "on the clients"
            )
        content = RecordDict(
            {
                ARRAYS: to_record({name: model[name] for name in wanted}),
                METRICS: MetricRecord(kept["metrics"]),
            }
        )
        return Message(content, reply_to=message)

    def _model(self, client: int) -> State:
        try:
            return load_state(self._file(client))[0]
        except (OSError, SafetensorError) as error:
            raise ConfigError(
                f"{self._file(client)}: the reply is damaged: {error}; remove {self.path}, and it "
                "is made again"
            ) from error

    def _file(self, client: int) -> Path:
        return self._replies / f"client-{client}.safetensors"

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._index.read_text(encoding="utf-8"))
        return found


def moments(replays: Path) -> list[Moment]:
    """Return all whole moments in a run's folder ``replays/``."""
    folders = replays.iterdir() if replays.is_dir() else ()
    return [moment for folder in folders if (moment := Moment(folder)).is_whole()]
