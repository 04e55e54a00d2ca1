"""A Grid in memory, whose nodes answer by a function."""

from collections.abc import Callable, Iterable, Iterator

from flwr.app import Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from clients.flower_adapter.messages import Run, become_server, empty_run
from strategies.messages import to_record, to_state

Update = Callable[[int, dict[str, Tensor]], dict[str, Tensor]]
"""From a node and the global model to the node's own."""


def reply(message: Message, state: dict[str, Tensor], examples: int, loss: float) -> Message:
    metrics = MetricRecord({"num-examples": examples, "train-loss": loss, "divergence": [1.0]})
    return Message(RecordDict({"arrays": to_record(state), "metrics": metrics}), reply_to=message)


class FakeGrid(Grid):
    def __init__(self, nodes: list[int], update: Update):
        become_server()
        self.nodes = nodes
        self.update = update
        self.sent: list[Message] = []

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        return empty_run()

    def create_message(self, *args: object, **kwargs: object) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        return self.nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        for message in messages:
            self.sent.append(message)
            node = message.metadata.dst_node_id
            state = self.update(node, to_state(message.content.array_records["arrays"]))
            yield reply(message, state, examples=node, loss=float(node))
