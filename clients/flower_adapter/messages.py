"""Create Flower messages within one process, without a task of a SuperLink."""

from flwr.app import Message
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = ["Run", "become_server", "become_task", "empty_run", "mark_reply", "number_message"]

RUN_ID = 1
"""The number of the only run in this process."""


def become_server() -> None:
    """Register this process with Flower as the server, since ``Message()`` requires one."""
    become_task(1, RUN_ID, SUPERLINK_NODE_ID)


def become_task(task: int, run: int, node: int) -> None:
    """Register with Flower the task, run and node for which this process creates messages."""
    TaskIdentity.task_id = task
    TaskIdentity.run_id = run
    TaskIdentity.node_id = node


def empty_run() -> Run:
    """Return an empty run, since a Grid must have one."""
    return Run.create_empty(RUN_ID)


def number_message(message: Message, message_id: str) -> None:
    """Give a message the id that the SuperLink would give it, so that replies can refer to it."""
    message.metadata.__dict__["_message_id"] = message_id


def mark_reply(reply: Message, message_id: str, question_id: str, node: int) -> None:
    """Overwrite a reply's metadata by those from the SuperLink, which the client cannot change."""
    number_message(reply, message_id)
    reply.metadata.__dict__["_reply_to_message_id"] = question_id
    reply.metadata.__dict__["_src_node_id"] = node
