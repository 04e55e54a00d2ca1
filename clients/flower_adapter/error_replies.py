"""Replies that say why there is none, by Flower's codes."""

from flwr.app import Error, Message
from flwr.common.constant import ErrorCode

from fedssl.base.import_path import user_code_location

NOT_HERE = ErrorCode.NODE_UNAVAILABLE
NOT_WHOLE = ErrorCode.MESSAGE_UNAVAILABLE
"""That of a reply of which a part never came."""
LOST = {NOT_WHOLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, NOT_HERE}
"""Errors of a client that went away; the others are a client's own."""
REFUSED = ErrorCode.MOD_FAILED_PRECONDITION
"""That of a reply that cannot be used: the nearest that Flower has."""
RAISED = ErrorCode.CLIENT_APP_RAISED_EXCEPTION


def describe_error(error: BaseException) -> str:
    """Return what an error reply says: what a ClientApp raised, and where in own code."""
    place = user_code_location(error)
    return f"{type(error).__name__}: {error}" + (f" (in {place})" if place else "")


def error_reply(message: Message, error: BaseException | str, code: int = RAISED) -> Message:
    """Return the reply that Flower sends when a ClientApp raises, or for another reason.

    Parameters
    ----------
    message : Message
        What is replied to.
    error : BaseException | str
        What was raised, or what `describe_error` says of it.
    code : int
        One of Flower's ``ErrorCode``.
    """
    text = error if isinstance(error, str) else describe_error(error)
    return Message(Error(code, text), reply_to=message)
