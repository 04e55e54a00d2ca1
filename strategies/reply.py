"""What a reply to a strategy's message must be, and the check that it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.common.constant import SType
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from fedssl.state import ModelParts, State
from fedssl.state_check import first_fault
from strategies.base import FoldingStrategy
from strategies.fold import Report, parameters
from strategies.ldawa import directed
from strategies.messages import (
    ARRAYS,
    CHANCE_LOSS,
    DIVERGENCE,
    METRICS,
    SENSITIVITY,
    STEPS,
    TensorArray,
    arrays_of,
    config_of,
    metrics_of,
    to_state,
)

LARGEST_NUMBER = 1e30
"""The largest metric that is believed: a sum over many clients stays finite."""
LARGEST_STEPS = 1 << 31
HEADER_BYTES = 1 << 14
"""What an array over the wire may take beside its elements."""
_NUMBERS = ("train-loss", CHANCE_LOSS, "seconds")
_LISTS = {DIVERGENCE: (-1.001, 1.0), SENSITIVITY: (0.0, LARGEST_NUMBER)}
"""The range of each number of a metric that is a list."""


@dataclass(frozen=True)
class Expected:
    """What a reply must be."""

    tensors: Mapping[str, Tensor]
    """What it holds: tensors of these names, shapes and element types."""
    lists: Mapping[str, int]
    """How many numbers each of its metrics has that is a list; all that were asked for."""
    needed: frozenset[str]
    """The other metrics that it must have."""
    examples: int
    """The most examples that the client may say it has."""
    parts: ModelParts
    """What the names of the tensors mean."""


def expected_reply(
    content: RecordDict, strategy: Strategy, parts: ModelParts, examples: int
) -> Expected:
    """Return what a strategy's message asks for.

    Parameters
    ----------
    content : RecordDict
        Of the message.
    strategy : Strategy
        Whose message it is. Flower's own need the same metrics of every client.
    parts : ModelParts
        What the names of the model's tensors mean.
    examples : int
        How many examples the client has, as it registered.
    """
    sent, config = to_state(arrays_of(content)), config_of(content)
    withheld = config.get("withheld", ())
    left_out = set(withheld) if isinstance(withheld, list) else set()
    lists = {}
    if config.get(DIVERGENCE):
        lists[DIVERGENCE] = len(directed(sent))
    if config.get("sensitivity-decay") is not None:
        lists[SENSITIVITY] = len(parameters(sent, parts.buffers))
    if isinstance(strategy, FoldingStrategy):
        needed = strategy.needs
    else:
        needed = frozenset({*_NUMBERS, STEPS})
    tensors = {name: tensor for name, tensor in sent.items() if name not in left_out}
    return Expected(tensors, lists, needed | {"num-examples"}, examples, parts)


def read_reply(content: RecordDict, expected: Expected) -> tuple[State, Report]:
    """Return the model and the metrics of a reply; nothing that it claims is believed unchecked.

    Raises
    ------
    ValueError
        The reply is not what was asked for, or its model or a metric cannot be used.
    """
    if unknown := sorted(map(str, content.keys() - {ARRAYS, METRICS})):
        raise ValueError(f"it has an unexpected record {unknown[0]}")
    arrays, metrics = arrays_of(content), metrics_of(content)
    report = _read_metrics(metrics, expected)
    _compare(arrays, expected.tensors)
    state = to_state(arrays)
    if fault := first_fault(state, expected.parts):
        raise ValueError(f"{fault}: try a lower client.lr, or set client.clip_norm")
    return {name: state[name] for name in expected.tensors}, report


def _compare(arrays: ArrayRecord, expected: Mapping[str, Tensor]) -> None:
    """See that an ArrayRecord says of itself what it should, without decoding it."""
    if missing := [name for name in expected if name not in arrays]:
        raise ValueError(f"its model lacks the tensor {missing[0]}")
    if unknown := sorted(map(str, arrays.keys() - expected.keys())):
        raise ValueError(f"its model has an unexpected tensor {unknown[0]}")
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


def _read_metrics(metrics: MetricRecord, expected: Expected) -> Report:
    known = {"num-examples", STEPS, *_NUMBERS, *expected.lists}
    if unknown := sorted(map(str, metrics.keys() - known)):
        raise ValueError(f"it has an unexpected metric {unknown[0]}")
    if missing := sorted((expected.needed | expected.lists.keys()) - metrics.keys()):
        raise ValueError(f"it lacks the metric {missing[0]}")
    examples = check_whole("num-examples", metrics["num-examples"], expected.examples)
    if STEPS in metrics:
        check_whole(STEPS, metrics[STEPS], LARGEST_STEPS)
    for name in _NUMBERS:
        if name in metrics:
            least = 0.0 if name == "seconds" else -LARGEST_NUMBER
            _check_number(name, metrics[name], least, LARGEST_NUMBER)
    for name, count in expected.lists.items():
        values = metrics[name]
        if not isinstance(values, list) or len(values) != count:
            raise ValueError(f"its metric {name} is no list of {count} numbers")
        for value in values:
            _check_number(name, value, *_LISTS[name])
    loss = metrics.get("train-loss", math.nan)
    assert isinstance(loss, (int, float))
    return Report(examples, float(loss), dict(metrics))


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
