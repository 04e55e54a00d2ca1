"""What Flower's processes print: errors, and why a server refuses a device."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fedssl.base.printable import printable

MOST_AHEAD, MOST_BEHIND = 5.0, 300.0
"""Seconds by which a client's clock may differ from the server's: Flower's limits."""
REFUSED = "refused by the server: "
"""Begins the line by which the SuperNode's process says why it ends."""
WRONG_CLOCK, UNKNOWN_NODE = "Invalid timestamp", "Invalid node ID"
"""How Flower's server says which of a device's words it does not take."""
UNKNOWN_OR_COUNTED = "2004"
"""Flower's code for a key that it does not know, or of which a connection still counts."""
_CODE = re.compile(r"\[code: (\d+)\]\s*(.*)")
_ERROR = re.compile(r"(?:\x1b\[\d+m)*ERROR *(?:\x1b\[\d+m)*: *(.+)")


@dataclass(frozen=True)
class Refusal:
    """Why the server does not take this client.

    Parameters
    ----------
    reason : str
        In words.
    patience : float
        For how many seconds it may help to try again; infinite where it will help one day.
    """

    reason: str
    patience: float


def find_refusal(lines: Sequence[str]) -> Refusal | None:
    """Find in a SuperNode's last lines why the server refuses it; None where it does not."""
    text = "\n".join(lines)
    details = text.rpartition(REFUSED)[2] if REFUSED in text else ""
    if WRONG_CLOCK in details:
        return Refusal(
            f"this device's clock is more than {MOST_AHEAD:.0f} s ahead of the server's, or more "
            f"than {MOST_BEHIND:.0f} s behind it; set it, such as by NTP",
            math.inf,
        )
    if UNKNOWN_NODE in details:
        # That of a server which was started anew: known once it is asked again.
        return None
    if match := _CODE.search(text):
        if match[1] == UNKNOWN_OR_COUNTED:
            return Refusal(
                "either it has not this client's client.pub, or it still counts an earlier "
                "connection with this key as open: one that ended without a word counts for a "
                "minute, and another device with a copy of the key for as long as it runs",
                100.0,
            )
        return Refusal(f"{printable(match[2])} (Flower's code {match[1]})", 0.0)
    if details:
        return Refusal(printable(details.partition("\n")[0]), 0.0)
    return None


def find_error(line: str) -> str | None:
    """Return what a line says that Flower marks as an error; None of any other line."""
    match = _ERROR.match(line)
    return match[1] if match else None
