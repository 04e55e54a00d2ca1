"""What the SuperLink marks as an error, in words for who runs the server."""

import re
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import serialization

from clients.keys import UNREADABLE, PublicKey, fingerprint
from fedssl.base.printable import printable
from simulations.progress.watcher import Watcher

REPEAT_SECONDS = 600.0
"""For how long the same error is not told again: who is refused tries again every few seconds."""
MOST = 1000
"""How many errors are remembered: a stranger may cause a new one with every key."""
_REFUSED = re.compile(r"\[ApiError:2004\].*?b'(-----BEGIN PUBLIC KEY-----.*?)'")


class Trouble:
    """Tells each error once, and again after a while.

    Parameters
    ----------
    said : Callable[[str], None]
        Told in a line.
    watcher : Watcher
        Told of refused keys.
    """

    def __init__(self, said: Callable[[str], None], watcher: Watcher):
        self._said = said
        self._watcher = watcher
        self._last: dict[str, float] = {}

    def __call__(self, error: str) -> None:
        """Tell an error, unless that was done of late."""
        refused = _REFUSED.search(error)
        text = _of_key(refused[1]) if refused else printable(error)
        now = time.monotonic()
        if now - self._last.get(text, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        if len(self._last) >= MOST:
            self._last.clear()
        self._last[text] = now
        self._said(text)
        if refused:
            self._watcher.note("refused", why=text)


def _of_key(shown: str) -> str:
    """Say that a key was refused, by its fingerprint, as `fedssl certs --list` shows it."""
    try:
        key = serialization.load_pem_public_key(shown.replace("\\n", "\n").encode())
        name = fingerprint(key) if isinstance(key, PublicKey) else "of another kind"
    except UNREADABLE:
        name = "that cannot be read"
    return (
        f"refused the key {name}: it is no member's, or an earlier connection with it still counts "
        "as open"
    )
