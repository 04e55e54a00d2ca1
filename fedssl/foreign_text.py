"""Text that came from outside, made fit to be shown and kept."""

LIMIT = 300
"""Characters that are kept of one text."""


def printable(text: str, limit: int = LIMIT) -> str:
    r"""Return a text on one line: what is not printable is escaped, and what is too long is cut.

    >>> printable("no camera\x1b[2J\n")
    'no camera\\x1b[2J\\n'

    Parameters
    ----------
    text : str
        Any.
    limit : int (default: 300)
        The most characters; the last one is then an ellipsis.
    """
    # Cut first, so that a text of any length costs the same.
    head = "".join(_visible(sign) for sign in text[: limit + 1])
    return head if len(head) <= limit else head[: limit - 1] + "…"


def _visible(sign: str) -> str:
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
