"""Flower's Grid with devices, played in this process."""

import itertools
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

from clients.device import Device, write_learning
from clients.flower_adapter.error_replies import RAISED
from clients.flower_adapter.messages import Run, become_server, empty_run, number_message
from clients.flower_adapter.runtime_api import ClientTask
from clients.message_handler import MessageHandler
from clients.private_states import PrivateStates
from fedssl.data import Dataset
from simulations.setup.prepare import Prepared


class PlayedTask:
    """What a SuperNode hands to the client: a message that crossed as bytes."""

    def __init__(self, message: Message, learning: str, version: str):
        self.message = message
        config = {"learning": learning, "run": "a1"}
        self.context = Context(1, 1, {}, RecordDict(), dict(config))
        self.run = Run.create_empty(1)
        self.run.fab_id, self.run.fab_version = "fedssl/fedssl", version
        self.answer: Message | None = None

    def reply(self, reply: Message) -> None:
        content = pickle.loads(pickle.dumps(reply.content))
        self.answer = Message(content, reply_to=self.message)

    def refuse(self, reason: str) -> None:
        error = Error(RAISED, reason)
        self.answer = Message(error, reply_to=self.message)


class PlayedGrid(Grid):
    """Flower's Grid, with a device at each node."""

    def __init__(self, prepared: Prepared, folder: Path, version: str):
        become_server()
        self.version = version
        self.learning = write_learning(prepared.blueprint)
        self.devices: dict[int, MessageHandler] = {}
        self.answers: dict[str, Message] = {}
        self.crossed: list[Message] = []
        self.absent: set[int] = set()
        """Clients that are not connected."""
        self.silent: set[tuple[int, int]] = set()
        """Clients, and the rounds in which they hear but do not answer at first."""
        self.spoil: Callable[[int, int, Message], None] = lambda client, server_round, reply: None
        """Changes what a client answers in a round; 0 for who it says it is."""
        self._numbers = itertools.count(1)
        self._run = empty_run()
        for client in range(prepared.partition.clients):
            device = Device(folder / "nowhere", client, torch.device("cpu"))
            device.read = self._examples(prepared, client)  # type: ignore[method-assign]
            states = PrivateStates(folder / f"state-{client}")
            self.devices[self.node(client)] = MessageHandler(device, states, lambda text: None)

    @staticmethod
    def node(client: int) -> int:
        return 1000 - client

    @staticmethod
    def _examples(prepared: Prepared, client: int) -> Callable[..., Dataset]:
        rows = torch.from_numpy(prepared.partition.indices(client))
        return lambda size, background="white": prepared.splits.train.take(rows.numpy())

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(self, *_: object, **__: object) -> Message:
        raise NotImplementedError

    def send_and_receive(self, messages: object, *, timeout: float | None = None) -> list[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        return [node for node in self.devices if 1000 - node not in self.absent]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            ids.append(str(next(self._numbers)))
            number_message(message, ids[-1])
            node = message.metadata.dst_node_id
            crossed = Message(
                pickle.loads(pickle.dumps(message.content)), node, message.metadata.message_type
            )
            number_message(crossed, ids[-1])
            task = PlayedTask(crossed, self.learning, self.version)
            self.devices[node].answer(cast(ClientTask, task))
            assert task.answer is not None
            train = message.metadata.message_type == "train"
            heard = (
                1000 - node,
                int(str(message.content["config"]["server-round"])) if train else 0,
            )
            self.spoil(*heard, task.answer)
            if heard in self.silent:
                self.silent.remove(heard)
            else:
                self.answers[ids[-1]] = task.answer
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        ready = [self.answers.pop(i) for i in message_ids if i in self.answers]
        self.crossed += ready
        return ready
