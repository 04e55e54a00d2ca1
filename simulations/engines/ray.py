"""The engine `ray`: clients run in worker processes that Ray keeps, on one machine or many.

What runs where: this process draws cohorts, merges and measures, and holds the private state of
every client; each worker holds one resident model. The examples lie once on every machine, in
memory that its workers share; a round's model is sent to each worker once.
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
from simulations.engines.ray_session import Place, session
from simulations.engines.ray_watch import Watch
from simulations.engines.ray_worker import (
    Answer,
    MakeClientApp,
    Model,
    Packed,
    RayWorker,
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
"""How many workers may die under a client before it counts as failed."""
START_SECONDS = 300.0
"""How long a worker may take to start: it imports PyTorch, maybe over a network's file system."""
CHECK_SECONDS = 1.0

T = TypeVar("T")


class RayClients:
    """Has each client run in one of a few worker processes: to `LocalGrid` what a ClientApp is.

    A worker that dies is replaced, and its client runs again from the same message and the state
    that it had before, so with the same bits. Where its machine is lost, the client runs again on
    another.

    Parameters
    ----------
    places : Sequence[Place]
        One for each worker; `LocalGrid` has as many threads.
    make_app : Callable[[], ClientApp]
        Called in every worker; arrays in it are put into shared memory once.
    device : str
        Where clients train, and where the tensors of their replies go.
    said : Callable[[str], None]
        Told which machines are lost, and which are there again.

    Raises
    ------
    ConfigError
        A worker cannot start.
    """

    # Not by Ray's own restarts: bounded, they would lose a worker for good in a long run;
    # unbounded, one that dies whenever it starts would be waited for without end.

    def __init__(
        self,
        places: Sequence[Place],
        make_app: Callable[[], ClientApp],
        device: str,
        said: Callable[[str], None] = lambda _: None,
    ):
        self._places = places
        self._device = torch.device(device)
        self._worker_class: Any = ray.remote(RayWorker)
        self._workers: list[Any] = [None] * len(places)
        self._changing = threading.Condition()
        self._closed = False
        self._idle = list(range(len(places)))
        self._sending = threading.Lock()
        self._sent: dict[str, tuple[weakref.ref[ArrayRecord], ObjectRef[Model]]] = {}
        self._watch = Watch(places, self._move, said)
        self._there = self._watch.there
        try:
            # Here, since there may be no room for it.
            self._make_app = ray.put(make_app)
            for worker in [self._start(number) for number in range(len(places))]:
                self._get(worker.ready.remote(), START_SECONDS)
        except BaseException as error:
            self._watch.close()
            if isinstance(error, RayError):
                raise ConfigError(
                    f"engine.name = ray: a worker cannot start: {_last_line(error)}"
                ) from error
            raise

    def close(self) -> None:
        """End the workers; clients under way fail."""
        self._watch.close()
        with self._changing:
            self._closed = True
            for worker in self._workers:
                if worker is not None:
                    ray.kill(worker)
            self._changing.notify_all()

    def __call__(self, message: Message, context: Context) -> Message:
        """Have a client run; return its reply, and leave its new state in the context.

        Called from as many threads at once as there are workers.

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
            about = {
                "run_id": context.run_id,
                "node_id": context.node_id,
                "node_config": context.node_config,
                "run_config": context.run_config,
            }
            answer = self._ask(content, pack(context.state), about, message.metadata.message_type)
            if isinstance(answer, str):
                return error_reply(message, answer)
            # Only what is merged here need be on a GPU.
            context.state = unpack(answer.state, torch.device("cpu"))
            return Message(unpack(answer.content, self._device), reply_to=message)

    def _ask(self, *task: Any) -> Answer | str:
        """Return a client's answer, or why there is none."""
        died = 0
        while True:
            with span("wait"), self._place() as number:
                try:
                    worker = self._workers[number]
                    if worker is None:
                        worker = self._start(number)
                        self._get(worker.ready.remote(), START_SECONDS)
                    answer: Answer | str = self._get(worker.answer.remote(*task))
                    return answer
                except RayError as error:
                    reason = _last_line(error)
                    self._dismiss(number)
                    # A machine that is lost says nothing about the client.
                    died += number in self._there
            if died == ATTEMPTS:
                return f"its worker process was lost {ATTEMPTS} times; {reason}"

    @contextmanager
    def _place(self) -> Iterator[int]:
        """Take a place that is there and where no client runs, and give it back."""
        self._check()
        with self._changing:
            while not (free := [number for number in self._idle if number in self._there]):
                self._changing.wait(CHECK_SECONDS)
                self._check()
            self._idle.remove(free[0])
        try:
            yield free[0]
        finally:
            with self._changing:
                self._idle.append(free[0])
                self._changing.notify_all()

    def _get(self, reference: ObjectRef[T], most: float = math.inf) -> T:
        """Wait for what a worker gives, as long as there is a cluster; at most so many seconds."""
        begin = time.monotonic()
        while not ray.wait([reference], timeout=CHECK_SECONDS)[0]:
            self._check()
            if time.monotonic() - begin > most:
                raise GetTimeoutError(f"nothing came within {most:g} s")
        return ray.get(reference)

    def _check(self) -> None:
        if self._closed:
            raise RuntimeError("the engine is closed")
        self._watch.check()

    def _move(self, moved: Collection[int], there: Collection[int]) -> None:
        """Take note of which places are there; the workers of those that moved are gone."""
        with self._changing:
            self._there = there
            self._changing.notify_all()
        for number in moved:
            self._dismiss(number)

    def _start(self, number: int) -> Any:
        """Start a worker, and return it; it is ready once it answers that."""
        with self._changing:
            if self._closed:
                raise RuntimeError("the engine is closed")
            worker = self._worker_class.options(**self._places[number]).remote(
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
                # It may only be out of reach.
                ray.kill(worker)

    def _send(self, key: str, record: ArrayRecord) -> ObjectRef[Model]:
        """Put a record into shared memory: once for all messages of a round, which hold the same.

        ``key`` is the record's in the messages.
        """
        with self._sending:
            if key not in self._sent or self._sent[key][0]() is not record:
                self._sent.pop(key, None)
                self._sent[key] = weakref.ref(record), ray.put(pack_model(record))
            return self._sent[key][1]


@contextmanager
def ray_grid(
    prepared: Prepared, said: Callable[[str], None] = lambda _: None
) -> Iterator[LocalGrid]:
    """Set up Ray, its workers and the Grid of an experiment, and end them.

    Raises
    ------
    ConfigError
        See `session` and `RayClients`; or the examples cannot be sent to another process.
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
    with session(engine, experiment.client.threads, store) as places:
        clients = RayClients(places, make_app, engine.device, said)
        grid = LocalGrid(clients, prepared.partition.clients, len(places))
        try:
            yield grid
        finally:
            clients.close()
            grid.close()
            allocator.release_spare_blocks()


def _store_bytes(prepared: Prepared, workers: int) -> int:
    """Return how much shared memory the examples and the models on their way take at most."""
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
        # A client rule may get, send and remember as much as the model.
        model *= 2
    # Two rounds' models, and of each worker's client the state sent and the answer; twice that,
    # for memory in pieces.
    return data + 2 * model * (2 + 2 * workers)


def _last_line(error: Exception) -> str:
    """Return what a traceback from a worker, or Ray's account of its death, says in the end."""
    return str(error).strip().rpartition("\n")[2]
