"""The engine `ray`: clients run in worker processes of Ray, on one machine or many.

This process draws cohorts, merges, evaluates, and holds the private state of every client. Each
worker holds one resident model. The examples are stored once on every machine, in memory that its
workers share. A round's model is sent to each worker once.
"""

import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import ray
import torch
from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp import ClientApp
from ray import ObjectRef, cloudpickle
from ray.exceptions import GetTimeoutError, RayError
from torch import Tensor

from clients.client_app import read_round
from clients.flower_adapter.error_replies import describe_error, error_reply
from fedssl.base import allocator
from fedssl.base.config_file import ConfigError
from fedssl.base.tracing import span
from simulations.engines.local import LocalGrid
from simulations.engines.ray_session import WorkerSlot, session
from simulations.engines.ray_watch import ClusterWatch
from simulations.engines.ray_worker import (
    MakeClientApp,
    Model,
    Packed,
    RayWorker,
    WorkerReply,
    pack,
    pack_model,
    unpack,
)
from simulations.settings.engines import RayConfig
from simulations.setup.prepare import Prepared
from strategies import FoldingStrategy
from strategies import build as build_strategy
from strategies.messages import config_of

ATTEMPTS = 3
"""A client counts as failed after so many workers have died while they ran it."""
START_SECONDS = 300.0
"""The seconds that a worker has to start: it imports PyTorch, maybe from a network file system."""
CHECK_SECONDS = 1.0

T = TypeVar("T")


class RayClients:
    """Runs clients in worker processes; `LocalGrid` calls it like a ClientApp.

    A worker that dies is replaced, and its client runs again from the same message and the same
    state, so with the same bits. Where its machine is lost, the client runs again on another one.

    Parameters
    ----------
    slots : Sequence[WorkerSlot]
        The slots, one for each worker; `LocalGrid` has as many threads.
    make_app : Callable[[], ClientApp]
        Called in every worker; its arrays are put into shared memory once.
    device : str
        The device on which clients train, and that of the tensors in their replies.
    on_message : Callable[[str], None]
        Called with a message on each machine that is lost, or available again.

    Raises
    ------
    ConfigError
        A worker cannot start.
    """

    # Not by Ray's own restarts: with a limit, a long run would lose workers for good; without
    # one, a worker that dies at every start would be waited for without end.

    def __init__(
        self,
        slots: Sequence[WorkerSlot],
        make_app: Callable[[], ClientApp],
        device: str,
        on_message: Callable[[str], None] = lambda _: None,
    ):
        self._slots = slots
        self._device = torch.device(device)
        self._worker_class: Any = ray.remote(RayWorker)
        self._workers: list[Any] = [None] * len(slots)
        self._changing = threading.Condition()
        self._closed = False
        self._idle = list(range(len(slots)))
        self._sending = threading.Lock()
        self._sent: dict[str, tuple[weakref.ref[ArrayRecord], ObjectRef[Model]]] = {}
        self._watch = ClusterWatch(slots, self._move, on_message)
        self._available = self._watch.available
        try:
            # Within the try block, since shared memory may be too small for it.
            self._make_app = ray.put(make_app)
            for worker in [self._start(number) for number in range(len(slots))]:
                self._get(worker.ready.remote(), START_SECONDS)
        except BaseException as error:
            self._watch.close()
            if isinstance(error, RayError):
                raise ConfigError(
                    f"engine.name = ray: a worker cannot start: {_last_line(error)}"
                ) from error
            raise

    def close(self) -> None:
        """End the workers; clients that are running fail."""
        self._watch.close()
        with self._changing:
            self._closed = True
            for worker in self._workers:
                if worker is not None:
                    ray.kill(worker)
            self._changing.notify_all()

    def __call__(self, message: Message, context: Context) -> Message:
        """Run a client; return its reply, and put its new state into the context.

        It is called from as many threads at once as there are workers.

        Raises
        ------
        EngineLostError
            The cluster is lost.
        """
        client = int(context.node_config["partition-id"])
        with span("client", client=client, round=read_round(config_of(message.content))):
            content: Packed = {
                key: self._send(key, record) if isinstance(record, ArrayRecord) else record
                for key, record in message.content.items()
            }
            context_fields = {
                "run_id": context.run_id,
                "node_id": context.node_id,
                "node_config": context.node_config,
                "run_config": context.run_config,
            }
            reply = self._ask(
                content, pack(context.state), context_fields, message.metadata.message_type
            )
            if isinstance(reply, str):
                return error_reply(message, reply)
            # Only tensors that are merged need to be on the GPU.
            context.state = unpack(reply.state, torch.device("cpu"))
            return Message(unpack(reply.content, self._device), reply_to=message)

    def _ask(self, *task: Any) -> WorkerReply | str:
        """Return a client's reply, or the reason why there is none."""
        deaths = 0
        while True:
            with span("wait"), self._take_slot() as number:
                try:
                    worker = self._workers[number]
                    if worker is None:
                        worker = self._start(number)
                        self._get(worker.ready.remote(), START_SECONDS)
                    reply: WorkerReply | str = self._get(worker.run_client.remote(*task))
                    return reply
                except RayError as error:
                    reason = _last_line(error)
                    self._dismiss(number)
                    # A worker on a lost machine did not die because of its client.
                    deaths += number in self._available
            if deaths == ATTEMPTS:
                return f"its worker process was lost {ATTEMPTS} times; {reason}"

    @contextmanager
    def _take_slot(self) -> Iterator[int]:
        """Return a context that holds an available slot in which no client runs."""
        self._check()
        with self._changing:
            while not (free := [number for number in self._idle if number in self._available]):
                self._changing.wait(CHECK_SECONDS)
                self._check()
            self._idle.remove(free[0])
        try:
            yield free[0]
        finally:
            with self._changing:
                self._idle.append(free[0])
                self._changing.notify_all()

    def _get(self, reference: ObjectRef[T], seconds: float = math.inf) -> T:
        """Return a worker's result; wait at most so many seconds, while the cluster exists."""
        started_at = time.monotonic()
        while not ray.wait([reference], timeout=CHECK_SECONDS)[0]:
            self._check()
            if time.monotonic() - started_at > seconds:
                raise GetTimeoutError(f"nothing came within {seconds:g} s")
        return ray.get(reference)

    def _check(self) -> None:
        if self._closed:
            raise RuntimeError("the engine is closed")
        self._watch.check()

    def _move(self, moved: Collection[int], available: Collection[int]) -> None:
        """Update the available slots, and drop the workers of those that moved."""
        with self._changing:
            self._available = available
            self._changing.notify_all()
        for number in moved:
            self._dismiss(number)

    def _start(self, number: int) -> Any:
        """Start a worker and return it; it is ready once its `ready` returns."""
        with self._changing:
            if self._closed:
                raise RuntimeError("the engine is closed")
            worker = self._worker_class.options(**self._slots[number]).remote(
                [os.path.abspath(folder) for folder in sys.path],
                [self._make_app],
                str(self._device),
            )
            self._workers[number] = worker
        return worker

    def _dismiss(self, number: int) -> None:
        with self._changing:
            worker, self._workers[number] = self._workers[number], None
            if worker is not None:
                # It may still run, and only be out of reach.
                ray.kill(worker)

    def _send(self, key: str, record: ArrayRecord) -> ObjectRef[Model]:
        """Put a record into shared memory, once for all messages of a round that hold it.

        ``key`` is the record's key in the messages.
        """
        with self._sending:
            if key not in self._sent or self._sent[key][0]() is not record:
                self._sent.pop(key, None)
                self._sent[key] = weakref.ref(record), ray.put(pack_model(record))
            return self._sent[key][1]


@contextmanager
def ray_grid(
    prepared: Prepared, on_message: Callable[[str], None] = lambda _: None
) -> Iterator[LocalGrid]:
    """Return a context in which Ray, its workers and the Grid of an experiment run.

    Raises
    ------
    ConfigError
        There is no such cluster, no worker can start, or the examples cannot be sent to another
        process.
    """
    allocator.keep_freed_memory()
    experiment, train = prepared.experiment, prepared.splits.train
    engine = experiment.engine
    assert isinstance(engine, RayConfig)
    examples = train.examples.numpy() if isinstance(train.examples, Tensor) else train.examples
    make_app = MakeClientApp(
        experiment, examples, train.labels.numpy(), prepared.partition, engine.device
    )
    store = _store_bytes(prepared, engine.workers or 1)
    with session(engine, experiment.client.threads, store) as slots:
        clients = RayClients(slots, make_app, engine.device, on_message)
        grid = LocalGrid(clients, prepared.partition.clients, len(slots))
        try:
            yield grid
        finally:
            clients.close()
            grid.close()
            allocator.release_spare_blocks()


def _store_bytes(prepared: Prepared, workers: int) -> int:
    """Return the most bytes of shared memory that the examples and the models in transit take."""
    experiment, train = prepared.experiment, prepared.splits.train
    if isinstance(train.examples, Tensor):
        examples = train.examples.nbytes
    else:
        try:
            examples = len(cloudpickle.dumps(train.examples))  # type: ignore[no-untyped-call]
        except Exception as error:
            raise ConfigError(
                f"data.name = {experiment.data.name}: its examples cannot be sent to another "
                f"process: {describe_error(error)}; let what fetches them open its files "
                "when it is first asked, or use engine.name = local"
            ) from error
    parts = prepared.partition
    data = examples + train.labels.nbytes + parts.order.nbytes + parts.offsets.nbytes
    model = prepared.blueprint.facts.bytes
    if experiment.client.optimizer_state == "kept":
        # Adam keeps two numbers for each weight.
        model *= 3
    strategy = build_strategy(experiment.strategy, prepared.blueprint.facts.parts)
    if isinstance(strategy, FoldingStrategy) and strategy.rules(1):
        # A client rule may receive, send and store as much as the model.
        model *= 2
    # Two rounds' models, and for each worker the state that is sent and the reply; twice that,
    # since free memory may be fragmented.
    return data + 2 * model * (2 + 2 * workers)


def _last_line(error: Exception) -> str:
    """Return the last line of an error from a worker, or of Ray's report of its death."""
    return str(error).strip().rpartition("\n")[2]
