"""Error replies with Flower's error codes."""

from flwr.app import Error, Message
from flwr.common.constant import ErrorCode

from fedssl.base.import_path import user_code_location

NOT_HERE = ErrorCode.NODE_UNAVAILABLE
NOT_WHOLE = ErrorCode.MESSAGE_UNAVAILABLE
"""The code of a reply of which a part is missing."""
LOST = {NOT_WHOLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, NOT_HERE}
"""The codes of clients that went away; other codes are errors of the client itself."""
REFUSED = ErrorCode.MOD_FAILED_PRECONDITION
"""The code of a reply that cannot be used; Flower has no closer one."""
RAISED = ErrorCode.CLIENT_APP_RAISED_EXCEPTION


def describe_error(error: BaseException) -> str:
    """Return the text of an error reply: the exception, and its place in code outside fedssl.

    >>> describe_error(ValueError("no images"))
    'ValueError: no images'
    """
    place = user_code_location(error)
    return f"{type(error).__name__}: {error}" + (f" (in {place})" if place else "")


def error_reply(message: Message, error: BaseException | str, code: int = RAISED) -> Message:
    """Return the reply that Flower sends when a ClientApp raises, or for another reason.

    Parameters
    ----------
    message : Message
        The message that is replied to.
    error : BaseException | str
        The exception, or its text from `describe_error`.
    code : int
        One of Flower's ``ErrorCode``.
    """
    text = error if isinstance(error, str) else describe_error(error)
    return Message(Error(code, text), reply_to=message)
