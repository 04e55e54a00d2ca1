"""One round kept in a folder as it was before its merge: the model sent, and every reply."""

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
    """A client's reply without its tensors."""

    model_config = ConfigDict(strict=True, frozen=True)

    client: Client
    metrics: dict[str, int | float | list[int] | list[float]] | None = None
    """The reply's metrics; None if the client failed."""
    error: str = "no reason given"

    @model_validator(mode="after")
    def _has_examples(self) -> Self:
        examples = 1 if self.metrics is None else self.metrics.get("num-examples")
        if not isinstance(examples, int) or examples < 1:
            raise ValueError(f"num-examples = {examples!r} is no number of examples")
        return self


class _Index(BaseModel):
    """The content of ``replies.json``."""

    model_config = ConfigDict(strict=True, frozen=True)

    round: int = Field(ge=1)
    measuring: list[dict[str, Any]]
    row: dict[str, Any]
    replies: list[_Reply]

    @model_validator(mode="after")
    def _can_be_merged(self) -> Self:
        if len({reply.client for reply in self.replies}) < len(self.replies):
            raise ValueError("a client is listed twice")
        if all(reply.metrics is None for reply in self.replies):
            raise ValueError("no client succeeded")
        return self


_LONGEST = 1024 * MEGABYTE


class KeptRound:
    """The folder of a round: ``checkpoint/``, ``replies/`` and, written last, ``replies.json``.

    The checkpoint holds the model that was sent and the strategy's state, both from before the
    round, but the clients' private states from after their training.
    """

    def __init__(self, path: Path):
        self.path = path
        self._checkpoint = CheckpointFolder(path / "checkpoint")
        self._replies = path / "replies"
        self._index = path / "replies.json"

    def is_complete(self) -> bool:
        """Return whether all replies were written."""
        return self._index.exists()

    def begin(self) -> None:
        """Empty the folder; it is not complete until `finish`."""
        make_inside(self.path)
        self._index.unlink(missing_ok=True)
        self._checkpoint.clear()
        self.__dict__.pop("_read", None)
        self.__dict__.pop("_shapes_and_types", None)
        make_inside(self._replies)
        for file in self._replies.iterdir():
            file.unlink()

    def add(self, client: int, reply: Message) -> dict[str, Any]:
        """Write a reply's tensors; return the rest of the reply, which `finish` writes."""
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
        metric_rules: tuple[ClientRuleConfig, ...],
    ) -> None:
        """Write the checkpoint and the index.

        Parameters
        ----------
        before : Checkpoint
            The checkpoint before the round, but with the clients' private states after it.
        replies : list[dict[str, Any]]
            What `add` returned, in cohort order.
        row : Mapping[str, object]
            The round's row of metrics under the run's own strategy.
        metric_rules : tuple[ClientRuleConfig, ...]
            The rules that only measure which clients ran in addition to the own strategy's.
        """
        self._checkpoint.save(before, changed=set(before.clients))
        index = {
            "round": before.round + 1,
            "measuring": [rule.model_dump(mode="json") for rule in metric_rules],
            "row": dict(row),
            "replies": replies,
        }
        replace_text(self._index, json.dumps(index, indent=1) + "\n")

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint, or raise a ConfigError if it is damaged."""
        try:
            checkpoint = self._checkpoint.load()
        except ValueError as error:
            raise ConfigError(f"{error}; {self._remedy}") from error
        if checkpoint is None or checkpoint.round != self.round - 1:
            content = "no checkpoint" if checkpoint is None else "another round's checkpoint"
            raise ConfigError(f"{self._checkpoint.folder}: holds {content}; {self._remedy}")
        return checkpoint

    @property
    def round(self) -> int:
        """The round's number, from 1."""
        return self._read.round

    def has_metrics_of(self, metric_rules: Iterable[ClientRuleConfig]) -> bool:
        """Return whether clients ran all of these rules, which only measure."""
        recorded = self._read.measuring
        return all(rule.model_dump(mode="json") in recorded for rule in metric_rules)

    @property
    def row(self) -> dict[str, Any]:
        """The round's row of metrics under the run's own strategy."""
        return self._read.row

    @property
    def cohort(self) -> list[int]:
        """All clients of the round, in the order in which they are merged."""
        return [reply.client for reply in self._read.replies]

    def models(self) -> Iterator[tuple[int, int, State]]:
        """Yield client, number of examples and model of each successful reply, one at a time."""
        for reply in self._read.replies:
            if reply.metrics is not None:
                examples = reply.metrics["num-examples"]
                assert isinstance(examples, int)
                yield reply.client, examples, self._model(reply.client)

    @property
    def steps(self) -> dict[int, int]:
        """The number of local steps of each client that did not fail."""
        return {
            reply.client: _count_or_zero(reply.metrics.get(STEPS))
            for reply in self._read.replies
            if reply.metrics
        }

    def answer(self, message: Message) -> Message:
        """Return a client's recorded reply as a reply to this message.

        Tensors that the message leaves on the clients are left out.

        Raises
        ------
        ValueError
            The message asks for a tensor that the reply lacks.
        """
        client = client_of(message)
        recorded = next(reply for reply in self._read.replies if reply.client == client)
        # A reply refers to its message by an id, which engines give when they send it.
        number_message(message, f"replayed {client}")
        if recorded.metrics is None:
            return error_reply(message, recorded.error)
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
                METRICS: MetricRecord(_metrics_for(rules, recorded.metrics)),
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
            if self._shapes_and_types.get(name) != (tensor.shape, tensor.dtype):
                raise ConfigError(f"{file}: {name} is not the model's; {self._remedy}")
        return state

    def _extra(self, client: int) -> State:
        """Return the tensors that a client sent in addition to the model."""
        file = self._file(client, EXTRA)
        return self._load(file) if file.exists() else {}

    def _load(self, file: Path) -> State:
        try:
            return load_state(file)[0]
        except (ValueError, OSError, SafetensorError) as error:
            raise ConfigError(f"{file}: the reply is damaged: {error}; {self._remedy}") from error

    @cached_property
    def _shapes_and_types(self) -> dict[str, tuple[Any, Any]]:
        """The shape and type of each tensor of the model that was sent."""
        return {name: (t.shape, t.dtype) for name, t in self.checkpoint().model.items()}

    @property
    def _remedy(self) -> str:
        return f"remove {self.path}, and the same command records the round again"

    def _file(self, client: int, suffix: str = "") -> Path:
        return self._replies / f"client-{client}{suffix and f'-{suffix}'}.safetensors"

    @cached_property
    def _read(self) -> _Index:
        try:
            index = _Index.model_validate(read_json(self._index, _LONGEST))
            check_row(index.row, "row")
            if not isinstance(index.row.get("rankme"), float):
                raise ConfigError("row: has no RankMe")
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = ".".join(map(str, problem["loc"]))
            raise ConfigError(f"{self._index}: {place}: {problem['msg']}; {self._remedy}") from None
        except ConfigError as error:
            raise ConfigError(f"{self._index}: {error}; {self._remedy}") from None
        return index


def _metrics_for(rules: tuple[str, ...], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reply's metrics without those of client rules that this message does not name."""
    return {
        name: value
        for name, value in metrics.items()
        if name != DIVERGENCE and ("/" not in name or name.startswith(rules))
    }


def _count_or_zero(value: object) -> int:
    return value if isinstance(value, int) else 0


def kept_rounds(replays: Path) -> list[KeptRound]:
    """Return all complete kept rounds in a run's folder ``replays/``."""
    folders = replays.iterdir() if replays.is_dir() else ()
    return [kept_round for folder in folders if (kept_round := KeptRound(folder)).is_complete()]
