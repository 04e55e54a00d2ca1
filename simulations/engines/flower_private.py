"""The only place that touches what Flower keeps private.

Messages inside one process need three such things.

Written for Flower 1.39; a test runs each, so that a new version that moves them is noticed.
"""

from flwr.app import Error, Message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import InMemoryGrid

from fedssl.dotted import place_in_own_code

__all__ = [
    "LOST",
    "NOT_HERE",
    "REFUSED",
    "Run",
    "become_server",
    "empty_run",
    "error_reply",
    "is_simulated",
    "number",
    "reason",
]

NOT_HERE = ErrorCode.NODE_UNAVAILABLE
LOST = {ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, NOT_HERE}
"""Errors of a client that went away; the others are a client's own."""
REFUSED = ErrorCode.MOD_FAILED_PRECONDITION
"""That of a reply that cannot be used: the nearest that Flower has."""

RUN_ID = 1
"""The number of the only run in this process."""


def become_server() -> None:
    """Tell Flower who creates messages here: ``Message()`` refuses to work without."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SUPERLINK_NODE_ID


def empty_run() -> Run:
    """Return what a Grid must offer as its run."""
    return Run.create_empty(RUN_ID)


def number(message: Message, message_id: str) -> None:
    """Give a message the id that the SuperLink would give it, so that replies can refer to it."""
    message.metadata.__dict__["_message_id"] = message_id


def is_simulated(grid: Grid) -> bool:
    """Return whether a Grid is of Flower's simulation, whose nodes are there from the start."""
    return isinstance(grid, InMemoryGrid)


def reason(error: BaseException) -> str:
    """Return what an error reply says: what a ClientApp raised, and where in own code."""
    place = place_in_own_code(error)
    return f"{type(error).__name__}: {error}" + (f" (in {place})" if place else "")


def error_reply(
    message: Message,
    error: BaseException | str,
    code: int = ErrorCode.CLIENT_APP_RAISED_EXCEPTION,
) -> Message:
    """Return the reply that Flower sends when a ClientApp raises, or for another reason.

    Parameters
    ----------
    message : Message
        What is replied to.
    error : BaseException | str
        What was raised, or what `reason` says of it.
    code : int
        One of Flower's ``ErrorCode``.
    """
    text = error if isinstance(error, str) else reason(error)
    return Message(Error(code, text), reply_to=message)
