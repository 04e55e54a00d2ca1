"""Messages between a strategy and its clients: Flower's records, holding torch tensors.

In one process a model crosses by reference (0.4 ms for 11 million parameters, where a plain
``ArrayRecord(state_dict)`` takes 41 ms); it becomes bytes only where it leaves the process. So
tensors of a message are shared with its sender: never modify them.
"""

import io
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.constant import SType
from numpy.lib import format as npy
from torch import Tensor

from fedssl.training.instructions import Instructions

Kind = TypeVar("Kind")

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

ARRAYS = "arrays"
"""Key of the ArrayRecord: the model."""
CONFIG = "config"
"""Key of the ConfigRecord: the round (`server-round`) and the strategy's `Instructions`."""
METRICS = "metrics"
"""Key of the MetricRecord of a reply: `num-examples`, `train-loss`, …"""
DIVERGENCE = "divergence"
"""In a message's config: whether clients report δ, the cosine of each tensor with the global one
(1 = same direction); in a reply's metrics: these cosines."""

STEPS = "num-steps"
"""In a reply's metrics: how many local steps the client took."""
CHANCE_LOSS = "chance-loss"
"""In a reply's metrics: the loss of a constant encoder, at the client's batch sizes."""

LAST_COUNTED = "last-counted"
"""In a message's config, to devices: the last round whose merge used this client's reply, 0 for
none. The client continues from its private state of that round."""

EXTRA = "extra"
"""Key of the ArrayRecord of client rules' extra tensors, in both directions; may be absent."""


class TensorArray(Array):
    """A Flower ``Array`` that holds a tensor by reference and serialises it only when asked.

    Parameters
    ----------
    tensor : Tensor
        Any shape; on any device, detached.
    """

    def __init__(self, tensor: Tensor):
        self.__dict__["tensor"] = tensor.detach()

    tensor: Tensor

    @cached_property
    def _plain(self) -> Array:
        return Array(self.tensor.cpu().numpy())

    @property
    def dtype(self) -> str:  # type: ignore[override]
        """The element type, as numpy names it."""
        return str(self.tensor.dtype).removeprefix("torch.")

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape."""
        return tuple(self.tensor.shape)

    @property
    def stype(self) -> str:  # type: ignore[override]
        """How ``data`` is encoded."""
        return "numpy.ndarray"

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The bytes that go over the wire."""
        return self._plain.data

    def deflate(self) -> bytes:
        """Serialise as a plain ``Array``, so that the receiver needs no fedssl to read it."""
        return self._plain.deflate()

    def __reduce__(self) -> tuple[Any, ...]:
        return self._plain.__class__, (self.dtype, self.shape, self.stype, self.data)


def to_record(state: Mapping[str, Tensor]) -> ArrayRecord:
    """Wrap a model state without copying it.

    Raises
    ------
    TypeError
        A tensor is bfloat16, which Flower cannot carry.
    """
    record = ArrayRecord()
    for name, tensor in state.items():
        if tensor.dtype == torch.bfloat16:
            raise TypeError(f"{name} is bfloat16, which a Flower message cannot carry: use float32")
        record[name] = TensorArray(tensor)
    return record


def to_state(record: ArrayRecord) -> dict[str, Tensor]:
    """Return the tensors of a record: shared where they crossed by reference.

    Raises
    ------
    ValueError
        An array received over the network does not match its description.
    """
    return {name: _tensor(name, array) for name, array in record.items()}


def _tensor(name: str, array: Array) -> Tensor:
    if isinstance(array, TensorArray):
        return array.tensor
    try:
        return torch.from_numpy(_elements(array))
    except ValueError as error:
        raise ValueError(f"its tensor {name} cannot be read: {error}") from error


def _elements(array: Array) -> np.ndarray:
    """Return a copy of the elements of an array in numpy's format.

    Not by ``np.load``, which allocates what the header claims before it checks how much there
    is.
    """
    if array.stype != SType.NUMPY:
        raise ValueError(f"it is encoded as {array.stype}, not as {SType.NUMPY}")
    file = io.BytesIO(array.data)
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version[0]}.{version[1]} of numpy's format is not known")
    try:
        shape, by_columns, dtype = _HEADERS[version](file)
    # On a header that is none, numpy's reader raises all kinds of errors, with all kinds of words.
    except Exception:
        raise ValueError("its header is none of numpy's format") from None
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {dtype}, which are no numbers")
    if (str(dtype), shape) != (array.dtype, tuple(array.shape)):
        raise ValueError(f"it says {array.dtype} {tuple(array.shape)}, but is {dtype} {shape}")
    begin, count = file.tell(), math.prod(shape)
    if len(array.data) - begin != count * dtype.itemsize:
        raise ValueError(
            f"it has {len(array.data) - begin} bytes in place of {count * dtype.itemsize}"
        )
    flat = np.frombuffer(array.data, dtype, count, begin)
    return flat.reshape(shape, order="F" if by_columns else "C").copy()


def record_bytes(record: ArrayRecord) -> int:
    """Return the size in bytes of a record's elements, without serialising them."""
    return sum(
        array.tensor.nbytes
        if isinstance(array, TensorArray)
        else np.dtype(array.dtype).itemsize * math.prod(array.shape)
        for array in record.values()
    )


# RecordDict's properties such as `array_records` make an object that refers to itself and to the
# RecordDict, so that a model would live on until Python's garbage collector looks for cycles.


def arrays_of(content: RecordDict, key: str = ARRAYS) -> ArrayRecord:
    """Return the ArrayRecord of a message's content, or of a context's state.

    Raises
    ------
    ValueError
        There is none under this key.
    """
    return _record(content, key, ArrayRecord)


def extra_of(content: RecordDict) -> ArrayRecord:
    """Return the extra tensors of a message or reply; may be empty."""
    return _record(content, EXTRA, ArrayRecord) if EXTRA in content else ArrayRecord()


def content_bytes(content: RecordDict) -> int:
    """Return the size in bytes of all tensors of a message or reply, without serialising them."""
    return record_bytes(arrays_of(content)) + record_bytes(extra_of(content))


def read_instructions(config: ConfigRecord) -> Instructions:
    """Return what a message's config has clients do, beside training.

    Raises
    ------
    ValueError
        It asks for what they do not do.
    """
    ours = {"server-round", DIVERGENCE, LAST_COUNTED}
    return Instructions.from_config({k: v for k, v in config.items() if k not in ours})


def metrics_of(content: RecordDict) -> MetricRecord:
    """Return a reply's MetricRecord; a ValueError says that there is none."""
    return _record(content, METRICS, MetricRecord)


def config_of(content: RecordDict) -> ConfigRecord:
    """Return a message's ConfigRecord; a ValueError says that there is none."""
    return _record(content, CONFIG, ConfigRecord)


def _record(content: RecordDict, key: str, kind: type[Kind]) -> Kind:
    record = content.get(key)
    if not isinstance(record, kind):
        raise ValueError(f"it has no {kind.__name__} {key!r}")
    return record
