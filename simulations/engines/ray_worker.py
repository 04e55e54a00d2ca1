"""A worker process of the engine `ray`, and the format of records sent to it and back."""

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
    """A model as it is sent between processes: one array, which Ray copies far faster than many."""

    tensors: Mapping[str, tuple[torch.Size, torch.dtype]]
    memory: np.ndarray
    """uint8 [bytes], laid out as `allocate` does; where it came through Ray, shared by all
    processes of the machine and read-only."""


Packed = dict[str, Model | ObjectRef[Model] | ConfigRecord | MetricRecord]
"""A RecordDict whose ArrayRecords are models, or references to models that were sent before."""


@dataclass(frozen=True)
class WorkerReply:
    """A client's reply and its new state."""

    content: Packed
    """The content of the reply."""
    state: Packed
    """The state of its Context."""


def pack_model(record: ArrayRecord) -> Model:
    """Return a model as it is sent; it shares memory with the record if possible."""
    state = {name: tensor.cpu() for name, tensor in to_state(record).items()}
    tensors = {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
    return Model(tensors, flatten_bytes(state).numpy())


def unpack_model(model: Model, device: torch.device) -> ArrayRecord:
    """Copy a model out of Ray's memory, aligned as any model is, so that Ray can reuse its own."""
    like = {n: torch.empty(s, dtype=kind, device="meta") for n, (s, kind) in model.tensors.items()}
    state = allocate(like, torch.device("cpu"))
    np.copyto(flatten_bytes(state).numpy(), model.memory)
    return to_record({name: tensor.to(device) for name, tensor in state.items()})


def pack(records: RecordDict) -> Packed:
    """Return records as they are sent between processes."""
    return {
        key: pack_model(record) if isinstance(record, ArrayRecord) else record
        for key, record in records.items()
    }


def unpack(
    packed: Packed,
    device: torch.device,
    fetch_model: Callable[[ObjectRef[Model]], ArrayRecord] | None = None,
) -> RecordDict:
    """Return the records that `pack` was given.

    Parameters
    ----------
    packed : Packed
        The packed records, in Ray's memory; the result is copied out of it.
    device : torch.device
        The device of the tensors.
    fetch_model : Callable[[ObjectRef], ArrayRecord] | None (default: None)
        Returns the model of a reference; None where ``packed`` has no references.
    """
    records = RecordDict()
    for key, value in packed.items():
        if isinstance(value, (ConfigRecord, MetricRecord)):
            records[key] = value
        elif isinstance(value, ObjectRef):
            assert fetch_model is not None
            records[key] = fetch_model(value)
        else:
            records[key] = unpack_model(value, device)
    return records


class RayWorker:
    """Runs clients one after another, in a process of Ray.

    Parameters
    ----------
    path : list[str]
        The driver's ``sys.path``, so that dotted paths name the same modules here.
    make_app : list[ObjectRef]
        A list with one reference, to the function that makes the ClientApp; in a list, so that Ray
        does not fetch it before the path is set.
    device : str
        The device on which clients train.
    """

    def __init__(
        self, path: list[str], make_app: list[ObjectRef[Callable[[], ClientApp]]], device: str
    ):
        sys.path.extend(folder for folder in path if folder not in sys.path)
        # Arrays in shared memory are read-only, and nothing here writes to them.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        # As in the driver: the number of threads of a local update is set by the worker.
        torch.set_num_threads(1)
        become_server()
        self._device = torch.device(device)
        self._app = ray.get(make_app[0])()
        self._received: dict[str, ArrayRecord] = {}

    def ready(self) -> None:
        """Return once the app is made."""

    def run_client(
        self, content: Packed, state: Packed, context: dict[str, Any], kind: str
    ) -> WorkerReply | str:
        """Run one client.

        Parameters
        ----------
        content : Packed
            The content of the message.
        state : Packed
            The client's state.
        context : dict[str, Any]
            The other fields of the client's Context.
        kind : str
            The message's type.

        Returns
        -------
        WorkerReply | str
            The reply; a text says why the client failed.
        """
        try:
            client_context = Context(state=unpack(state, self._device), **context)
            # Drop the last round's models, so that their memory can be used again.
            names = {value.hex() for value in content.values() if isinstance(value, ObjectRef)}
            self._received = {n: r for n, r in self._received.items() if n in names}
            message = Message(
                unpack(content, self._device, self._fetch_model), client_context.node_id, kind
            )
            number_message(message, "1")
            reply = self._app(message, client_context)
            if reply.has_error():
                return reply.error.reason or "no reason given"
            return WorkerReply(pack(reply.content), pack(client_context.state))
        # A SystemExit, too, which would end this process and all that it holds.
        except BaseException as error:
            return describe_error(error)

    def _fetch_model(self, reference: ObjectRef[Model]) -> ArrayRecord:
        """Return a round's model, which is fetched once for all clients of this worker."""
        name = reference.hex()
        if name not in self._received:
            self._received[name] = unpack_model(ray.get(reference), self._device)
        return self._received[name]


@dataclass(frozen=True)
class MakeClientApp:
    """Makes the ClientApp of an experiment from data that all workers of a machine share."""

    config: LearningConfig
    examples: np.ndarray | Examples
    """[N, …] as stored, or an object that fetches rows of it."""
    labels: np.ndarray
    """int64 [N]."""
    partition: Partition
    device: str

    def __call__(self) -> ClientApp:
        """Make the ClientApp and the resident model."""
        examples = self.examples
        if isinstance(examples, np.ndarray):
            examples = torch.from_numpy(examples)
        train = Dataset(examples, torch.from_numpy(self.labels), ())
        runtime = ClientRuntime(self.config, train, self.partition, torch.device(self.device))
        runtime.worker()
        return make_client_app(lambda _: runtime)
