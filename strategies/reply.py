"""What a reply to a strategy's message must contain, and the check of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.common.constant import SType
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fedssl.client_rules import ReportedMetric
from fedssl.model_state import State, TensorRoles
from fedssl.model_state.check import first_error
from strategies.base import FoldingStrategy
from strategies.divergence import directed
from strategies.fold import UpdateSummary
from strategies.messages import (
    ARRAYS,
    CHANCE_LOSS,
    DIVERGENCE,
    EXTRA,
    METRICS,
    STEPS,
    TensorArray,
    arrays_of,
    config_of,
    extra_of,
    metrics_of,
    read_instructions,
    to_state,
)

LARGEST_NUMBER = 1e30
"""The largest metric that is believed: a sum over many clients stays finite."""
LARGEST_STEPS = 1 << 31
HEADER_BYTES = 1 << 14
"""What an array over the wire may take beside its elements."""
_NUMBERS = ("train-loss", CHANCE_LOSS, "seconds")


@dataclass(frozen=True)
class Expected:
    """The tensors and metrics that a reply must have."""

    tensors: Mapping[str, Tensor]
    """The model: tensors of these names, shapes and element types."""
    extra: Mapping[str, Tensor]
    """The extra tensors: of these names, shapes and element types."""
    reported: Mapping[str, ReportedMetric]
    """The metrics that were asked for."""
    needed: frozenset[str]
    """The other metrics that it must have."""
    examples: int
    """The most examples that the client may say it has."""
    parts: TensorRoles
    """The roles of the model's tensors by name."""


def expected_reply(
    content: RecordDict, strategy: Strategy, parts: TensorRoles, examples: int
) -> Expected:
    """Return what a strategy's message asks for.

    Parameters
    ----------
    content : RecordDict
        The content of the message.
    strategy : Strategy
        Whose message it is. Flower's own need the same metrics of every client.
    parts : TensorRoles
        What the names of the model's tensors mean.
    examples : int
        How many examples the client has, as it registered.
    """
    sent, config = to_state(arrays_of(content)), config_of(content)
    instructions = read_instructions(config)
    reported: dict[str, ReportedMetric] = {}
    extra: State = {}
    if config.get(DIVERGENCE):
        reported[DIVERGENCE] = ReportedMetric(-1.001, 1.0, len(directed(sent)))
    for rule in instructions.build_rules():
        name = rule.config.name
        reported |= {f"{name}/{k}": m for k, m in rule.declared_metrics(sent, parts).items()}
        extra |= {f"{name}/{k}": t for k, t in rule.declared_tensors(sent, parts).items()}
    if isinstance(strategy, FoldingStrategy):
        needed = strategy.required_metrics
    else:
        needed = frozenset({*_NUMBERS, STEPS})
    withheld = instructions.transmission.absent_from_reply
    tensors = {name: tensor for name, tensor in sent.items() if name not in withheld}
    return Expected(tensors, extra, reported, needed | {"num-examples"}, examples, parts)


def read_reply(content: RecordDict, expected: Expected) -> tuple[State, UpdateSummary]:
    """Return the model and the metrics of a reply; nothing that it claims is believed unchecked.

    Raises
    ------
    ValueError
        The reply is not what was asked for, or its model or a metric cannot be used.
    """
    records = {ARRAYS, METRICS, *([EXTRA] if expected.extra else [])}
    if unknown := sorted(map(str, content.keys() - records)):
        raise ValueError(f"it has an unexpected record {unknown[0]}")
    metrics, numbers = metrics_of(content), _read_metrics(metrics_of(content), expected)
    state = _read_tensors(arrays_of(content), expected.tensors, "model", expected.parts)
    extra = _read_tensors(extra_of(content), expected.extra, "extra", expected.parts)
    return state, UpdateSummary(*numbers, dict(metrics), extra)


def _read_tensors(
    arrays: ArrayRecord, expected: Mapping[str, Tensor], what: str, parts: TensorRoles
) -> State:
    """Return tensors that are such as are expected, and finite."""
    _compare(arrays, expected, what)
    state = to_state(arrays)
    if fault := first_error(state, parts):
        raise ValueError(f"{fault}: try a lower client.lr, or set client.clip_norm")
    return {name: state[name] for name in expected}


def _compare(arrays: ArrayRecord, expected: Mapping[str, Tensor], what: str) -> None:
    """See that an ArrayRecord says of itself what it should, without decoding it."""
    if missing := [name for name in expected if name not in arrays]:
        raise ValueError(f"its {what} lacks the tensor {missing[0]}")
    if unknown := sorted(map(str, arrays.keys() - expected.keys())):
        raise ValueError(f"its {what} has an unexpected tensor {unknown[0]}")
    for name, like in expected.items():
        array = arrays[name]
        dtype, shape = str(like.dtype).removeprefix("torch."), tuple(like.shape)
        if tuple(array.shape) != shape:
            raise ValueError(
                f"its tensor {name} has the shape {tuple(array.shape)} in place of {shape}"
            )
        if array.dtype != dtype:
            raise ValueError(f"its tensor {name} is {array.dtype} in place of {dtype}")
        if isinstance(array, TensorArray):
            continue
        if array.stype != SType.NUMPY:
            raise ValueError(f"its tensor {name} is encoded as {array.stype}")
        if not like.nbytes <= len(array.data) <= like.nbytes + HEADER_BYTES:
            raise ValueError(
                f"its tensor {name} has {len(array.data)} bytes in place of {like.nbytes} and a "
                "header"
            )


def _read_metrics(metrics: MetricRecord, expected: Expected) -> tuple[int, float]:
    """Return the number of examples and the loss; a ValueError says what is wrong with a metric."""
    known = {"num-examples", STEPS, *_NUMBERS, *expected.reported}
    if unknown := sorted(map(str, metrics.keys() - known)):
        raise ValueError(f"it has an unexpected metric {unknown[0]}")
    if missing := sorted((expected.needed | expected.reported.keys()) - metrics.keys()):
        raise ValueError(f"it lacks the metric {missing[0]}")
    examples = check_whole("num-examples", metrics["num-examples"], expected.examples)
    if STEPS in metrics:
        check_whole(STEPS, metrics[STEPS], LARGEST_STEPS)
    for name in _NUMBERS:
        if name in metrics:
            least = 0.0 if name == "seconds" else -LARGEST_NUMBER
            _check_number(name, metrics[name], least, LARGEST_NUMBER)
    for name, like in expected.reported.items():
        given = metrics[name]
        if like.length is None:
            _check_number(name, given, like.minimum, like.maximum)
            continue
        if not isinstance(given, list) or len(given) != like.length:
            raise ValueError(f"its metric {name} is no list of {like.length} numbers")
        for value in given:
            _check_number(name, value, like.minimum, like.maximum)
    loss = metrics.get("train-loss", math.nan)
    assert isinstance(loss, (int, float))
    return examples, float(loss)


def check_whole(name: str, value: object, largest: int) -> int:
    """Return a metric that is a whole number from 1 to ``largest``; a ValueError says it is not."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"its metric {name} is {value!r} in place of a whole number")
    if not 1 <= value <= largest:
        raise ValueError(f"its metric {name} is {value}: must be from 1 to {largest}")
    return value


def _check_number(name: str, value: object, least: float, largest: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"its metric {name} is {value!r} in place of a number")
    # So that a NaN is refused, too.
    if not least <= value <= largest:
        raise ValueError(f"its metric {name} is {value}: must be from {least:g} to {largest:g}")


__all__ = ["Expected", "check_whole", "expected_reply", "read_reply"]
