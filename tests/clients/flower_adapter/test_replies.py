"""Replies as the SuperLink hands them out, honest and hostile."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
)

from clients.flower_adapter.error_replies import LOST, REFUSED
from clients.flower_adapter.messages import become_server, empty_run, number_message
from clients.flower_adapter.replies import CarefulGrid
from strategies.messages import arrays_of, to_record, to_state


class SuperLink:
    """Plays the part of Flower's client of the SuperLink."""

    def __init__(self, reply: Message):
        self.reply = reply
        objects = get_all_nested_objects(reply)
        self.contents = {name: thing.deflate() for name, thing in objects.items()}
        self.confirmed: list[str] = []

    def PullMessages(self, request: Any) -> PullAppMessagesResponse:
        self.reply.metadata.__dict__["_message_id"] = self.reply.object_id
        about = message_to_proto(remove_content_from_message(self.reply))
        about.metadata.reply_to_message_id = "the question"
        about.metadata.src_node_id = 7
        return PullAppMessagesResponse(
            messages_list=[about], message_object_trees=[get_object_tree(self.reply)]
        )

    def PullObject(self, request: Any) -> PullObjectResponse:
        content = self.contents.get(request.object_id)
        return PullObjectResponse(
            object_found=content is not None,
            object_available=content is not None,
            object_content=content or b"",
        )

    def ConfirmMessageReceived(self, request: Any) -> None:
        self.confirmed.append(request.message_object_id)


class Grid(CarefulGrid):
    def __init__(self, link: SuperLink):
        super().__init__(token="any")
        self.link = link
        self.set_run(empty_run())

    @property
    def _runtime_client(self) -> Any:
        return self.link


def reply_with(content: RecordDict) -> Message:
    become_server()
    message = Message(RecordDict({"config": ConfigRecord({"server-round": 1})}), 7, "train")
    number_message(message, "the question")
    return Message(content, reply_to=message)


@pytest.fixture
def reply() -> Message:
    state = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}
    metrics = MetricRecord({"num-examples": 4, "train-loss": 1.5})
    return reply_with(RecordDict({"arrays": to_record(state), "metrics": metrics}))


def test_an_honest_reply_comes_in_whole(reply: Message) -> None:
    link = SuperLink(reply)
    (taken,) = Grid(link).pull_messages(["the question"])
    assert to_state(taken.content.array_records["arrays"])["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert taken.content.metric_records["metrics"]["num-examples"] == 4
    assert taken.metadata.reply_to_message_id == "the question"
    assert link.confirmed == [reply.object_id]


def test_whose_reply_it_is_the_superlink_says_and_not_the_client(reply: Message) -> None:
    reply.metadata.__dict__["_reply_to_message_id"] = "another's question"
    (taken,) = Grid(SuperLink(reply)).pull_messages(["the question"])
    assert taken.metadata.reply_to_message_id == "the question"
    assert taken.metadata.src_node_id == 7


def refused(link: SuperLink, most_bytes: int | None = None) -> str:
    grid = Grid(link)
    if most_bytes:
        grid.most_bytes = most_bytes
    (taken,) = grid.pull_messages(["the question"])
    assert taken.has_error()
    assert taken.error.code == REFUSED
    assert taken.metadata.reply_to_message_id == "the question"
    # The SuperLink need not keep it.
    assert link.confirmed == [link.reply.object_id]
    return str(taken.error.reason)


def test_a_part_that_is_named_a_million_times_takes_no_room() -> None:
    reply = reply_with(RecordDict({"arrays": to_record({"w": torch.zeros(100_000)})}))
    link = SuperLink(reply)
    name, content = next((n, c) for n, c in link.contents.items() if c.startswith(b"Array "))
    head, _, body = content.partition(b"\x00")
    said = json.loads(body)
    said["arraychunk_ids"] = [0] * 1_000_000
    longer = json.dumps(said).encode()
    kind, children, _ = head.decode().split(" ")
    link.contents[name] = f"{kind} {children} {len(longer)}".encode() + b"\x00" + longer
    assert "its arrays have more than 40000000 bytes" in refused(link, 40_000_000)


def test_a_reply_of_more_bytes_than_the_limit_is_refused() -> None:
    large = RecordDict({"arrays": to_record({"w": torch.rand(1_000_000)})})
    assert "it has more than 2000000 bytes" in refused(SuperLink(reply_with(large)), 2_000_000)


@pytest.mark.parametrize("kind", ["Message", "RecordDict", "ArrayRecord", "Array", "MetricRecord"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"junk", b"Array  3\x00{}}", b"Evil  2\x00{}", b"Message  2\x00{}"]
)
def test_parts_that_are_none_of_flowers_make_the_reply_an_error(
    reply: Message, kind: str, content: bytes
) -> None:
    link = SuperLink(reply)
    name = next(n for n, c in link.contents.items() if c.startswith(f"{kind} ".encode()))
    link.contents[name] = content
    assert "its reply cannot be read" in refused(link)


def test_what_is_no_message_is_refused(reply: Message) -> None:
    link = SuperLink(reply)
    inner: InflatableObject = reply.content
    link.contents[reply.object_id] = inner.deflate()
    assert "it is a RecordDict, not a message" in refused(link)


def test_a_reply_of_which_a_part_never_came_is_that_of_a_client_that_went_away(
    reply: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflatable_utils, "PULL_MAX_TIME", 0)
    link = SuperLink(reply)
    name = next(n for n, c in link.contents.items() if c.startswith(b"Array "))
    link.PullObject = lambda request: PullObjectResponse(  # type: ignore[method-assign]
        object_found=request.object_id != name,
        object_available=True,
        object_content=link.contents[request.object_id],
    )
    (taken,) = Grid(link).pull_messages(["the question"])
    assert taken.error.code in LOST


def test_the_array_of_a_plain_client_is_known() -> None:
    content = RecordDict({"arrays": to_record({"w": torch.zeros(2)})})
    arrays_of(content)["w"] = Array(np.zeros(2, np.float32))
    (taken,) = Grid(SuperLink(reply_with(content))).pull_messages(["x"])
    assert not taken.has_error()
