"""Flower's Grid over HTTP, but for how it takes in what clients sent: within limits, unbelieved.

Flower's own makes as much room as a reply's parts say they take together, though a part may be
named a million times; and one reply that is no message of Flower's would end the run.
"""

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from flwr.app import Array, Error, Message, Metadata
from flwr.app.message import make_message
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.supercore.constant import SYSTEM_MESSAGE_TYPE
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_head_values_from_object_content,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.superlink.grid import HttpGrid

from clients.flower_adapter.error_replies import NOT_WHOLE, REFUSED
from clients.flower_adapter.messages import mark_reply

BESIDE_THE_MODEL = 1 << 22
"""Bytes that a reply may take beside as many as the model that was sent: metrics and names."""
MOST_OBJECTS = 100_000
"""Of how many of Flower's objects a reply may be made: two or three for each tensor."""


class CarefulGrid(HttpGrid):
    """Takes in replies of a limited size; one that cannot be read is an error reply."""

    most_bytes = BESIDE_THE_MODEL
    """The most that a reply may take in memory."""

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies to these messages that are there."""
        answer = self._runtime_client.PullMessages(
            PullAppMessagesRequest(message_ids=list(message_ids))
        )
        pairs = zip(answer.messages_list, answer.message_object_trees, strict=True)
        return [self._take_in(about, tree) for about, tree in pairs]

    def _take_in(self, about: MessageProto, tree: ObjectTree) -> Message:
        """Return a reply, or an error in its place."""
        try:
            contents = self._pull([part.object_id for part in iterate_object_tree(tree)])
        except ObjectPullError as error:
            # As Flower says it: the client went away before it had sent all.
            return _error(about, NOT_WHOLE, f"its reply is not whole: {error}")
        except (ValueError, RecursionError) as error:
            self._confirm(about)
            return _refusal(about, error)
        self._confirm(about)
        try:
            check_size(contents, self.most_bytes)
            reply = inflate_object_from_contents(about.metadata.message_id, contents)
            if not isinstance(reply, Message):
                raise ValueError(f"it is a {type(reply).__name__}, not a message")
        # Whatever it makes Flower's code raise, the reply is at fault.
        except Exception as error:
            return _refusal(about, error)
        link = about.metadata
        mark_reply(reply, link.message_id, link.reply_to_message_id, link.src_node_id)
        return reply

    def _pull(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Fetch the parts of a reply; a ValueError says that they are too many, or too large."""
        if len(ids) > MOST_OBJECTS:
            raise ValueError(f"it is made of {len(ids)} objects, more than {MOST_OBJECTS}")
        fetch = make_pull_object_fn_protobuf(
            pull_object_protobuf=self._runtime_client.PullObject,
            node=self.node,
            run_id=self.run.run_id,
        )
        return pull_objects(list(ids), pull_object_fn=limit_fetch(fetch, self.most_bytes))

    def _confirm(self, about: MessageProto) -> None:
        """Let the SuperLink forget a reply."""
        self._runtime_client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(
                node=self.node,
                run_id=self.run.run_id,
                message_object_id=about.metadata.message_id,
            )
        )


def limit_fetch(fetch: Callable[[str], bytes], most: int) -> Callable[[str], bytes]:
    """Return what fetches objects until they are more than so many bytes together.

    The returned function raises a ValueError for the one with which they are.
    """
    lock, total = threading.Lock(), 0

    def fetch_within(object_id: str) -> bytes:
        nonlocal total
        content = fetch(object_id)
        with lock:
            total += len(content)
            if total > most:
                raise ValueError(f"it has more than {most} bytes")
        return content

    return fetch_within


def check_size(contents: Mapping[str, bytes], most: int) -> None:
    """See that arrays, put together of their parts, take no more than so many bytes.

    Parameters
    ----------
    contents : Mapping[str, bytes]
        Each object of a reply, deflated, by its id.
    most : int
        The limit.

    Raises
    ------
    ValueError
        They do, or one is no array of Flower's.
    """
    total = 0
    for content in contents.values():
        kind, children, _ = get_object_head_values_from_object_content(content)
        if kind != "Array":
            continue
        places = json.loads(get_object_body(content, Array))["arraychunk_ids"]
        total += sum(len(contents[children[place]]) for place in places)
        if total > most:
            raise ValueError(f"its arrays have more than {most} bytes")


def _refusal(about: MessageProto, error: Exception) -> Message:
    return _error(about, REFUSED, f"its reply cannot be read: {error}")


def _error(about: MessageProto, code: int, reason: str) -> Message:
    metadata = Metadata(
        run_id=about.metadata.run_id,
        message_id="",
        src_node_id=about.metadata.src_node_id,
        dst_node_id=about.metadata.dst_node_id,
        message_type=SYSTEM_MESSAGE_TYPE,
        group_id="",
        ttl=0,
        reply_to_message_id=about.metadata.reply_to_message_id,
        created_at=now().timestamp(),
    )
    return make_message(metadata=metadata, error=Error(code, reason))
