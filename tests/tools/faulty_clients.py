"""Clients that answer wrongly, each in a way of its own."""

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from torch import Tensor, nn

from fedssl.base.seeding import generator
from fedssl.model_state import TensorRoles
from strategies.divergence import directed
from strategies.elastic import SENSITIVITY
from strategies.messages import (
    ARRAYS,
    DIVERGENCE,
    EXTRA,
    METRICS,
    arrays_of,
    config_of,
    read_instructions,
    to_record,
    to_state,
)

EXAMPLES = 8
"""How many examples each client has."""


@dataclass
class Given:
    """An honest reply, to be spoilt."""

    model: dict[str, Tensor]
    metrics: dict[str, Any]
    extra: dict[str, Tensor] = field(default_factory=dict)
    """What it sends beside the model."""
    records: dict[str, Any] = field(default_factory=dict)
    """Further records."""
    arrays: Callable[[ArrayRecord], ArrayRecord] = lambda record: record
    """What becomes of the model's record."""

    @property
    def weight(self) -> str:
        """The first tensor that is trained."""
        return next(n for n, t in self.model.items() if t.dim() > 1)

    def content(self) -> RecordDict:
        """Return the reply's content."""
        content = RecordDict()
        if self.model:
            content[ARRAYS] = self.arrays(to_record(self.model))
        if self.extra:
            content[EXTRA] = to_record(self.extra)
        content.update(self.records)
        if self.metrics:
            content[METRICS] = MetricRecord(self.metrics)
        return content


Fault = Callable[[Given], None]


def set_all(value: float, only: str = "") -> Fault:
    """Fill all floating tensors, or those whose names end so."""

    def spoil(given: Given) -> None:
        for name, tensor in given.model.items():
            if tensor.is_floating_point() and name.endswith(only):
                given.model[name] = torch.full_like(tensor, value)

    return spoil


def one_value(value: float) -> Fault:
    """Put one value into one weight."""

    def spoil(given: Given) -> None:
        tensor = given.model[given.weight].clone()
        tensor.view(-1)[-1] = value
        given.model[given.weight] = tensor

    return spoil


def counters(value: int) -> Fault:
    """Set all counters."""

    def spoil(given: Given) -> None:
        for name, tensor in given.model.items():
            if not tensor.is_floating_point():
                given.model[name] = torch.full_like(tensor, value)

    return spoil


def metric(name: str, value: Any) -> Fault:
    """Give a metric another value."""

    def spoil(given: Given) -> None:
        given.metrics[name] = value

    return spoil


def without(name: str) -> Fault:
    """Leave out a metric."""

    def spoil(given: Given) -> None:
        given.metrics.pop(name, None)

    return spoil


def tensor(change: Callable[[Tensor], Tensor]) -> Fault:
    """Change one tensor."""

    def spoil(given: Given) -> None:
        given.model[given.weight] = change(given.model[given.weight])

    return spoil


def record(key: str, value: Any) -> Fault:
    """Add a record."""

    def spoil(given: Given) -> None:
        given.records[key] = value

    return spoil


def wire(change: Callable[[Array], Array]) -> Fault:
    """Change an array as it crosses the wire."""

    def spoil(given: Given) -> None:
        def changed(whole: ArrayRecord) -> ArrayRecord:
            plain = pickle.loads(pickle.dumps(whole))
            assert isinstance(plain, ArrayRecord)
            plain[given.weight] = change(plain[given.weight])
            return plain

        given.arrays = changed

    return spoil


def beside(change: Callable[[Tensor], Tensor]) -> Fault:
    """Change the first tensor that is sent beside the model."""

    def spoil(given: Given) -> None:
        name = next(iter(given.extra))
        given.extra[name] = change(given.extra[name])

    return spoil


def raises(error: BaseException) -> Fault:
    """Let the client's code raise."""

    def spoil(given: Given) -> None:
        # A new one each time: one that is raised again keeps all frames that it passed through.
        raise type(error)(*error.args)

    return spoil


def drop_model(given: Given) -> None:
    """Send no model."""
    given.model = {}


def drop_metrics(given: Given) -> None:
    """Send no metrics."""
    given.metrics = {}


def drop_tensor(given: Given) -> None:
    """Send all but a tensor."""
    del given.model[given.weight]


def drop_beside(given: Given) -> None:
    """Send all but a tensor beside the model."""
    del given.extra[next(iter(given.extra))]


def drop_all_beside(given: Given) -> None:
    """Send nothing beside the model."""
    given.extra = {}


def one_more_beside(given: Given) -> None:
    """Send a tensor too many beside the model."""
    given.extra["scaffold/example"] = torch.zeros(3)


def another_rules_beside(given: Given) -> None:
    """Send what another rule might."""
    given.extra["fedx/0.bias"] = torch.zeros(3)


def one_more_tensor(given: Given) -> None:
    """Send a tensor too many."""
    given.model["encoder.extra"] = torch.zeros(3)


def send_nothing(given: Given) -> None:
    """Send an empty message."""
    given.model, given.metrics = {}, {}


def _pickled(array: Array) -> Array:
    import io

    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return Array(array.dtype, array.shape, array.stype, file.getvalue())


def _header(array: Array, claims: str) -> Array:
    """Replace the header of numpy's format by one of the same length."""
    length = 10 + int.from_bytes(array.data[8:10], "little")
    header = claims.encode().ljust(length - 11) + b"\n"
    return Array(
        array.dtype, array.shape, array.stype, array.data[:10] + header + array.data[length:]
    )


def _claims_more(array: Array) -> Array:
    return _header(array, "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}")


def _claims_objects(array: Array) -> Array:
    return _header(array, "{'descr': '|O', 'fortran_order': False, 'shape': (54,)}")


def _is_no_header(array: Array) -> Array:
    return _header(array, "{'descr': __import__('os')}")


def _huge(array: Array) -> Array:
    return Array(array.dtype, array.shape, array.stype, bytes(400_000_000))


def _huge_claims(array: Array) -> Array:
    return Array(array.dtype, (1 << 40,), array.stype, array.data)


FAULTS: dict[str, Fault] = {
    "weights NaN": set_all(math.nan),
    "a weight NaN": one_value(math.nan),
    "a weight infinite": one_value(math.inf),
    "weights minus infinity": set_all(-math.inf),
    "means NaN": set_all(math.nan, "running_mean"),
    "variances negative": set_all(-1.0, "running_var"),
    "counters negative": counters(-1),
    "counters huge": counters(2**62),
    "no model": drop_model,
    "no metrics": drop_metrics,
    "nothing": send_nothing,
    "a tensor missing": drop_tensor,
    "a tensor too many": one_more_tensor,
    "another shape": tensor(lambda t: t[:1]),
    "a shape with a one": tensor(lambda t: t[None]),
    "float64": tensor(lambda t: t.double()),
    "float16": tensor(lambda t: t.half()),
    "integers": tensor(lambda t: t.long()),
    "another record": record("more", MetricRecord({"a": 1})),
    "tensors beside the model that nobody asked for": one_more_beside,
    "metrics in the place of tensors beside the model": record(EXTRA, MetricRecord({"a": 1})),
    "another model": record("arrays2", ArrayRecord([np.zeros(3)])),
    "a config": record("config", ConfigRecord({"a": "b"})),
    "examples 10^18": metric("num-examples", 10**18),
    "examples one more": metric("num-examples", EXAMPLES + 1),
    "examples 0": metric("num-examples", 0),
    "examples negative": metric("num-examples", -5),
    "examples no whole number": metric("num-examples", 2.5),
    "examples a list": metric("num-examples", [1]),
    "examples missing": without("num-examples"),
    "loss NaN": metric("train-loss", math.nan),
    "loss infinite": metric("train-loss", math.inf),
    "loss huge": metric("train-loss", -1e300),
    "loss a list": metric("train-loss", [1.0]),
    "chance loss NaN": metric("chance-loss", math.nan),
    "steps 0": metric("num-steps", 0),
    "steps negative": metric("num-steps", -3),
    "steps huge": metric("num-steps", 2**40),
    "seconds negative": metric("seconds", -1.0),
    "seconds NaN": metric("seconds", math.nan),
    "an unknown metric": metric("accuracy", 1.0),
    "δ NaN": metric(DIVERGENCE, [math.nan] * 9),
    "δ too few": metric(DIVERGENCE, [1.0]),
    "δ a number": metric(DIVERGENCE, 1.0),
    "sensitivity negative": metric(SENSITIVITY, [-1.0] * 9),
    "a sensitivity that nobody asked for, by its old name": metric("sensitivity", [1.0] * 9),
    "a pickled array": wire(_pickled),
    "a header that claims objects": wire(_claims_objects),
    "a header that claims more": wire(_claims_more),
    "a header that is code": wire(_is_no_header),
    "a shape that claims more": wire(_huge_claims),
    "400 MB": wire(_huge),
    "cut": wire(lambda a: Array(a.dtype, a.shape, a.stype, a.data[:-1])),
    "empty": wire(lambda a: Array(a.dtype, a.shape, a.stype, b"")),
    "another encoding": wire(lambda a: Array(a.dtype, a.shape, "pickle", a.data)),
    "another element type said": wire(lambda a: Array("float64", a.shape, a.stype, a.data)),
    "an error": raises(ValueError("no camera")),
    "an error with escapes": raises(RuntimeError("\x1b[2J[red]" + "x" * 10_000 + "\n")),
    "SystemExit": raises(SystemExit(3)),
    "KeyboardInterrupt": raises(KeyboardInterrupt()),
    "MemoryError": raises(MemoryError()),
    "RecursionError": raises(RecursionError("deep")),
}
"""What a client can do wrong that its own reply shows."""

FAULTS_BESIDE: dict[str, Fault] = {
    "one too many": one_more_beside,
    "another rule's": another_rules_beside,
    "one missing": drop_beside,
    "all missing": drop_all_beside,
    "another shape": beside(lambda t: t[:1]),
    "a shape with a one": beside(lambda t: t[None]),
    "a huge shape": beside(lambda t: torch.zeros(()).expand(1000, 1000)),
    "NaN": beside(lambda t: t * math.nan),
    "infinite": beside(lambda t: t + math.inf),
    "float64": beside(lambda t: t.double()),
    "float16": beside(lambda t: t.half()),
    "integers": beside(lambda t: t.long()),
    "metrics in its place": record(EXTRA, MetricRecord({"a": 1})),
    "a config in its place": record(EXTRA, ConfigRecord({"a": "b"})),
    "no names": record(EXTRA, ArrayRecord([np.zeros(3)])),
}
"""What a client can do wrong where its rule sends tensors beside the model."""

OF_BATCHNORM = ("means NaN", "variances negative", "counters negative", "counters huge")
"""Those that are in BatchNorm's tensors alone."""

SPOILERS: dict[str, Fault] = {
    "weights 1e30": set_all(1e30),
    "weights minus 1e38": set_all(-1e38, "weight"),
    "variances 1e38": set_all(1e38, "running_var"),
    "a weight 3e38": one_value(3e38),
}
"""Replies that can be used by themselves, though what is merged of them may not."""


class FaultyApp:
    """A ClientApp whose clients move each weight a little, and some of which answer wrongly.

    Parameters
    ----------
    faults : dict[int, Fault]
        What each faulty client does.
    parts : TensorRoles
        Of the model.
    crossing : bool
        Whether models cross as bytes, as from a device.
    """

    def __init__(self, faults: dict[int, Fault], parts: TensorRoles, crossing: bool = False):
        self.faults = faults
        self.parts = parts
        self.crossing = crossing
        self.asked: list[int] = []

    def __call__(self, message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        self.asked.append(client)
        context.state["private"] = to_record({"visits": self._visits(context) + 1})
        given = self._honest(message, client)
        fault = self.faults.get(client)
        if fault is not None:
            fault(given)
        content = given.content()
        if self.crossing:
            content = pickle.loads(pickle.dumps(content))
        return Message(content, reply_to=message)

    @staticmethod
    def _visits(context: Context) -> Tensor:
        if "private" not in context.state:
            return torch.zeros(())
        return to_state(arrays_of(context.state, "private"))["visits"]

    def _honest(self, message: Message, client: int) -> Given:
        config = config_of(message.content)
        instructions = read_instructions(config)
        received = to_state(arrays_of(message.content))
        draws = generator(0, "faulty", int(str(config["server-round"])), client)
        model = {
            name: t + 0.01 * torch.rand(t.shape, generator=draws)
            if t.is_floating_point()
            else t + 1
            for name, t in received.items()
            if name not in instructions.transmission.withheld
        }
        metrics: dict[str, Any] = {
            "num-examples": 1 + client % EXAMPLES,
            "train-loss": 1.0 + client / 10,
            "chance-loss": 2.0,
            "num-steps": 1 + client % 3,
            "seconds": 0.5,
        }
        if config.get(DIVERGENCE):
            metrics[DIVERGENCE] = [0.5] * len(directed(received))
        extra: dict[str, Tensor] = {}
        for rule in instructions.build_rules():
            before = f"{rule.config.name}/"
            for name, reported in rule.declared_metrics(received, self.parts).items():
                metrics[before + name] = [1.0] * reported.length if reported.length else 1.0
            for name, like in rule.declared_tensors(received, self.parts).items():
                extra[before + name] = 0.01 * torch.rand(like.shape, generator=draws)
        return Given(model, metrics, extra)


class Tiny(nn.Module):
    """An encoder that has a bit of everything, so that many rounds are quick."""

    features = 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=4, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, examples: Tensor) -> Tensor:
        """Return features [B, 4]."""
        features: Tensor = self.layers(examples)
        return features
