"""A round just before its merge, as a folder keeps it: the model sent, and every reply."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from flwr.app import Message, MetricRecord, RecordDict
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError

from clients.flower_adapter.error_replies import error_reply
from clients.flower_adapter.messages import number_message
from fedssl.base.config_file import ConfigError
from fedssl.base.plain_files import MEGABYTE, read_json
from fedssl.client_rules import ClientRuleConfig
from fedssl.model_state import State, load_state, save_state
from simulations.engines.node_id import client_of
from simulations.record.checkpoint import Checkpoint, CheckpointFolder
from simulations.record.files import replace_text
from simulations.record.subfolders import make_inside
from simulations.record.tables import Client, check_row
from strategies.messages import (
    ARRAYS,
    DIVERGENCE,
    EXTRA,
    METRICS,
    STEPS,
    arrays_of,
    config_of,
    extra_of,
    metrics_of,
    read_instructions,
    to_record,
    to_state,
)


class _Reply(BaseModel):
    """A client's, but for its model."""

    model_config = ConfigDict(strict=True, frozen=True)

    client: Client
    metrics: dict[str, int | float | list[int] | list[float]] | None = None
    """None where it failed."""
    error: str = "no reason given"

    @model_validator(mode="after")
    def _has_examples(self) -> Self:
        examples = 1 if self.metrics is None else self.metrics.get("num-examples")
        if not isinstance(examples, int) or examples < 1:
            raise ValueError(f"num-examples = {examples!r} is no number of examples")
        return self


class _Index(BaseModel):
    """What ``replies.json`` holds."""

    model_config = ConfigDict(strict=True, frozen=True)

    round: int = Field(ge=1)
    measuring: list[dict[str, Any]]
    row: dict[str, Any]
    replies: list[_Reply]

    @model_validator(mode="after")
    def _can_be_merged(self) -> Self:
        if len({reply.client for reply in self.replies}) < len(self.replies):
            raise ValueError("a client is there twice")
        if all(reply.metrics is None for reply in self.replies):
            raise ValueError("no client succeeded")
        return self


_LONGEST = 1024 * MEGABYTE


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
        make_inside(self.path)
        self._index.unlink(missing_ok=True)
        self._checkpoint.clear()
        self.__dict__.pop("_read", None)
        self.__dict__.pop("_kinds", None)
        make_inside(self._replies)
        for file in self._replies.iterdir():
            file.unlink()

    def add(self, client: int, reply: Message) -> dict[str, Any]:
        """Keep a reply's model; return what `finish` is to be told of the rest."""
        if reply.has_error():
            return {"client": client, "error": reply.error.reason or "no reason given"}
        save_state(self._file(client), to_state(arrays_of(reply.content)), {})
        if extra := extra_of(reply.content):
            save_state(self._file(client, EXTRA), to_state(extra), {})
        return {"client": client, "metrics": dict(metrics_of(reply.content))}

    def finish(
        self,
        before: Checkpoint,
        replies: list[dict[str, Any]],
        row: Mapping[str, object],
        measuring: tuple[ClientRuleConfig, ...],
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
        measuring : tuple[ClientRuleConfig, ...]
            The client rules that clients followed beside those of the run's own strategy.
        """
        self._checkpoint.save(before, changed=set(before.clients))
        index = {
            "round": before.round + 1,
            "measuring": [rule.model_dump(mode="json") for rule in measuring],
            "row": dict(row),
            "replies": replies,
        }
        replace_text(self._index, json.dumps(index, indent=1) + "\n")

    def before(self) -> Checkpoint:
        """Return the checkpoint; a ConfigError says that it is damaged."""
        try:
            found = self._checkpoint.load()
        except ValueError as error:
            raise ConfigError(f"{error}; {self._again}") from error
        if found is None or found.round != self.round - 1:
            what = "no checkpoint" if found is None else "another round's checkpoint"
            raise ConfigError(f"{self._checkpoint.folder}: holds {what}; {self._again}")
        return found

    @property
    def round(self) -> int:
        """The round."""
        return self._read.round

    def has(self, measuring: Iterable[ClientRuleConfig]) -> bool:
        """Tell whether clients followed these rules, which only measure, too."""
        known = self._read.measuring
        return all(rule.model_dump(mode="json") in known for rule in measuring)

    @property
    def row(self) -> dict[str, Any]:
        """What the run's own strategy made of the round."""
        return self._read.row

    @property
    def cohort(self) -> list[int]:
        """All clients that were asked, in the order in which they are merged."""
        return [reply.client for reply in self._read.replies]

    def models(self) -> Iterator[tuple[int, int, State]]:
        """Yield client, number of examples and model of each that did not fail, one at a time."""
        for reply in self._read.replies:
            if reply.metrics is not None:
                examples = reply.metrics["num-examples"]
                assert isinstance(examples, int)
                yield reply.client, examples, self._model(reply.client)

    @property
    def steps(self) -> dict[int, int]:
        """How many local steps each client took that did not fail."""
        made = {reply.client: reply.metrics for reply in self._read.replies if reply.metrics}
        return {client: _whole(metrics.get(STEPS)) for client, metrics in made.items()}

    def answer(self, message: Message) -> Message:
        """Return a client's reply as if it had been made to this message.

        What the message has stay on the client is left out.

        Raises
        ------
        ValueError
            The message asks for a tensor that the reply lacks.
        """
        client = client_of(message)
        kept = next(reply for reply in self._read.replies if reply.client == client)
        # A reply refers to its message by an id, which engines give when they send it.
        number_message(message, f"replayed {client}")
        if kept.metrics is None:
            return error_reply(message, kept.error)
        model = self._model(client)
        instructions = read_instructions(config_of(message.content))
        withheld = instructions.transmission.absent_from_reply
        wanted = [n for n in arrays_of(message.content) if n not in withheld]
        rules = tuple(f"{rule.name}/" for rule in instructions.rules)
        if missing := [name for name in wanted if name not in model]:
            raise ValueError(
                f"client {client}'s reply has no {missing[0]}, which the run's own strategy left "
                "on the clients"
            )
        content = RecordDict(
            {
                ARRAYS: to_record({name: model[name] for name in wanted}),
                METRICS: MetricRecord(_reported_by(rules, kept.metrics)),
            }
        )
        extra = {n: t for n, t in self._extra(client).items() if n.startswith(rules)}
        if extra:
            content[EXTRA] = to_record(extra)
        return Message(content, reply_to=message)

    def _model(self, client: int) -> State:
        file = self._file(client)
        state = self._load(file)
        for name, tensor in state.items():
            if self._kinds.get(name) != (tensor.shape, tensor.dtype):
                raise ConfigError(f"{file}: {name} is not the model's; {self._again}")
        return state

    def _extra(self, client: int) -> State:
        """Return what a client sent beside the model."""
        file = self._file(client, EXTRA)
        return self._load(file) if file.exists() else {}

    def _load(self, file: Path) -> State:
        try:
            return load_state(file)[0]
        except (ValueError, OSError, SafetensorError) as error:
            raise ConfigError(f"{file}: the reply is damaged: {error}; {self._again}") from error

    @cached_property
    def _kinds(self) -> dict[str, tuple[Any, Any]]:
        """Shape and type of each tensor that was sent."""
        return {name: (t.shape, t.dtype) for name, t in self.before().model.items()}

    @property
    def _again(self) -> str:
        return f"remove {self.path}, and it is made again"

    def _file(self, client: int, what: str = "") -> Path:
        return self._replies / f"client-{client}{what and f'-{what}'}.safetensors"

    @cached_property
    def _read(self) -> _Index:
        try:
            found = _Index.model_validate(read_json(self._index, _LONGEST))
            check_row(found.row, "row")
            if not isinstance(found.row.get("rankme"), float):
                raise ConfigError("row: has no RankMe")
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            what = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            raise ConfigError(f"{self._index}: {what}; {self._again}") from None
        except ConfigError as error:
            raise ConfigError(f"{self._index}: {error}; {self._again}") from None
        return found


def _reported_by(rules: tuple[str, ...], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reply's metrics without those that another message had asked for."""
    return {
        name: value
        for name, value in metrics.items()
        if name != DIVERGENCE and ("/" not in name or name.startswith(rules))
    }


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def moments(replays: Path) -> list[Moment]:
    """Return all whole moments in a run's folder ``replays/``."""
    folders = replays.iterdir() if replays.is_dir() else ()
    return [moment for folder in folders if (moment := Moment(folder)).is_whole()]
