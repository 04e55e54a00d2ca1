"""A worker process of the engine `ray`, and the form in which records cross to it and back."""

import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from ray import ObjectRef

from clients import ClientRuntime, make_client_app
from clients.flower_adapter.error_replies import describe_error
from clients.flower_adapter.messages import become_server, number_message
from fedssl.base.allocator import allocate, flatten_bytes
from fedssl.config import LearningConfig
from fedssl.data import Dataset, Examples
from fedssl.partitions import Partition
from strategies.messages import to_record, to_state


@dataclass(frozen=True)
class Model:
    """A model as it crosses: one piece of memory, which Ray copies far faster than many."""

    tensors: Mapping[str, tuple[torch.Size, torch.dtype]]
    memory: np.ndarray
    """uint8 [bytes], laid out as `allocate` does; where it came through Ray, shared by all
    processes of the machine and read-only."""


Packed = dict[str, Model | ObjectRef[Model] | ConfigRecord | MetricRecord]
"""A RecordDict, each ArrayRecord as a model, or as a reference to one that was sent before."""


@dataclass(frozen=True)
class Answer:
    """What a client gives."""

    content: Packed
    """Of its reply."""
    state: Packed
    """What its context keeps."""


def pack_model(record: ArrayRecord) -> Model:
    """Return the form in which a model crosses; it shares memory with the record if it can."""
    state = {name: tensor.cpu() for name, tensor in to_state(record).items()}
    tensors = {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
    return Model(tensors, flatten_bytes(state).numpy())


def unpack_model(model: Model, device: torch.device) -> ArrayRecord:
    """Copy a model to memory of one's own, aligned as any model's is: Ray's can be used again."""
    like = {n: torch.empty(s, dtype=kind, device="meta") for n, (s, kind) in model.tensors.items()}
    own = allocate(like, torch.device("cpu"))
    np.copyto(flatten_bytes(own).numpy(), model.memory)
    return to_record({name: tensor.to(device) for name, tensor in own.items()})


def pack(records: RecordDict) -> Packed:
    """Return the form in which records cross between processes."""
    return {
        key: pack_model(record) if isinstance(record, ArrayRecord) else record
        for key, record in records.items()
    }


def unpack(
    packed: Packed,
    device: torch.device,
    received: Callable[[ObjectRef[Model]], ArrayRecord] | None = None,
) -> RecordDict:
    """Return what `pack` was given.

    Parameters
    ----------
    packed : Packed
        In Ray's memory; nothing of the result lies there.
    device : torch.device
        Where tensors go.
    received : Callable[[ObjectRef], ArrayRecord] | None (default: None)
        Gives what a reference refers to; None where there is none in ``packed``.
    """
    records = RecordDict()
    for key, value in packed.items():
        if isinstance(value, (ConfigRecord, MetricRecord)):
            records[key] = value
        elif isinstance(value, ObjectRef):
            assert received is not None
            records[key] = received(value)
        else:
            records[key] = unpack_model(value, device)
    return records


class RayWorker:
    """Runs clients one after another; Ray keeps it in a process of its own.

    Parameters
    ----------
    path : list[str]
        The driver's ``sys.path``: what a dotted path names there is found here, too.
    make_app : list[ObjectRef]
        One reference to what makes the ClientApp; in a list, so that Ray does not fetch it before
        the path is set.
    device : str
        Where clients train.
    """

    def __init__(
        self, path: list[str], make_app: list[ObjectRef[Callable[[], ClientApp]]], device: str
    ):
        sys.path.extend(folder for folder in path if folder not in sys.path)
        # Arrays in shared memory are read-only, which nobody minds who only reads.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        # As in the driver: the number of threads of a local update is set by the worker.
        torch.set_num_threads(1)
        become_server()
        self._device = torch.device(device)
        self._app = ray.get(make_app[0])()
        self._received: dict[str, ArrayRecord] = {}

    def ready(self) -> None:
        """Answer once the app is made."""

    def answer(
        self, content: Packed, state: Packed, context: dict[str, Any], kind: str
    ) -> Answer | str:
        """Run one client.

        Parameters
        ----------
        content : Packed
            Of the message.
        state : Packed
            What the client keeps since its last round.
        context : dict[str, Any]
            All else that the client's context holds.
        kind : str
            The message's type.

        Returns
        -------
        Answer | str
            Why the client failed, where it did.
        """
        try:
            own = Context(state=unpack(state, self._device), **context)
            # So that the last round's memory can be used again.
            names = {value.hex() for value in content.values() if isinstance(value, ObjectRef)}
            self._received = {n: r for n, r in self._received.items() if n in names}
            message = Message(unpack(content, self._device, self._model), own.node_id, kind)
            number_message(message, "1")
            reply = self._app(message, own)
            if reply.has_error():
                return reply.error.reason or "no reason given"
            return Answer(pack(reply.content), pack(own.state))
        # A SystemExit, too, which would end this process and all that it holds.
        except BaseException as error:
            return describe_error(error)

    def _model(self, reference: ObjectRef[Model]) -> ArrayRecord:
        """Return a round's model, which is fetched once for all clients of this worker."""
        name = reference.hex()
        if name not in self._received:
            self._received[name] = unpack_model(ray.get(reference), self._device)
        return self._received[name]


@dataclass(frozen=True)
class MakeClientApp:
    """Makes the ClientApp of an experiment from what all workers of a machine share."""

    config: LearningConfig
    examples: np.ndarray | Examples
    """[N, …] as stored, or what fetches rows of it."""
    labels: np.ndarray
    """int64 [N]."""
    partition: Partition
    device: str

    def __call__(self) -> ClientApp:
        """Make it, and the resident model."""
        examples = self.examples
        if isinstance(examples, np.ndarray):
            examples = torch.from_numpy(examples)
        train = Dataset(examples, torch.from_numpy(self.labels), ())
        runtime = ClientRuntime(self.config, train, self.partition, torch.device(self.device))
        runtime.worker()
        return make_client_app(lambda _: runtime)
