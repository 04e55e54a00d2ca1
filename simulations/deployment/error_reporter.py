"""Report the SuperLink's errors in words for the operator of the server."""

import re
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import serialization

from clients.keys import UNREADABLE, PublicKey, fingerprint
from fedssl.base.printable import printable
from simulations.progress.watcher import Watcher

REPEAT_SECONDS = 600.0
"""The seconds before the same error is reported again: a refused client retries often."""
MOST = 1000
"""The most errors that are remembered: a stranger may cause a new one with every key."""
_REFUSED = re.compile(r"\[ApiError:2004\].*?b'(-----BEGIN PUBLIC KEY-----.*?)'")


class ErrorReporter:
    """Reports each error once, and again after `REPEAT_SECONDS`.

    Parameters
    ----------
    on_message : Callable[[str], None]
        Called with each error, a line each.
    watcher : Watcher
        Its `on_event` is called with ``refused`` for each key that the SuperLink refused.
    """

    def __init__(self, on_message: Callable[[str], None], watcher: Watcher):
        self._on_message = on_message
        self._watcher = watcher
        self._last: dict[str, float] = {}

    def __call__(self, error: str) -> None:
        """Report an error, unless it was reported recently."""
        refused = _REFUSED.search(error)
        text = _refused_key_message(refused[1]) if refused else printable(error)
        now = time.monotonic()
        if now - self._last.get(text, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        if len(self._last) >= MOST:
            self._last.clear()
        self._last[text] = now
        self._on_message(text)
        if refused:
            self._watcher.on_event("refused", why=text)


def _refused_key_message(key_text: str) -> str:
    """Return the error that a key was refused, with its fingerprint as in `fedssl certs --list`."""
    try:
        key = serialization.load_pem_public_key(key_text.replace("\\n", "\n").encode())
        name = fingerprint(key) if isinstance(key, PublicKey) else "of another kind"
    except UNREADABLE:
        name = "that cannot be read"
    return (
        f"refused the key {name}: it is no member's, or an earlier connection with it still counts "
        "as open"
    )
