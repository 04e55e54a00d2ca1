"""Parse the output of Flower's processes: errors, and why a server refuses a device."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fedssl.base.printable import printable

MOST_AHEAD, MOST_BEHIND = 5.0, 300.0
"""Seconds by which a client's clock may differ from the server's: Flower's limits."""
REFUSED = "refused by the server: "
"""The start of the line in which the SuperNode's process says why it ends."""
WRONG_CLOCK, UNKNOWN_NODE = "Invalid timestamp", "Invalid node ID"
"""The errors of Flower's server for a device's wrong time and for an unknown node."""
UNKNOWN_OR_COUNTED = "2004"
"""Flower's code for a key that is unknown, or that has another open connection."""
_CODE = re.compile(r"\[code: (\d+)\]\s*(.*)")
_ERROR = re.compile(r"(?:\x1b\[\d+m)*ERROR *(?:\x1b\[\d+m)*: *(.+)")


@dataclass(frozen=True)
class Refusal:
    """The reason why the server refuses this client.

    Parameters
    ----------
    reason : str
        The reason in words.
    patience : float
        The seconds during which another try may help; infinite where one will help some day.
    """

    reason: str
    patience: float


def find_refusal(lines: Sequence[str]) -> Refusal | None:
    """Return the refusal in a SuperNode's last lines, or None."""
    text = "\n".join(lines)
    details = text.rpartition(REFUSED)[2] if REFUSED in text else ""
    if WRONG_CLOCK in details:
        return Refusal(
            f"this device's clock is more than {MOST_AHEAD:.0f} s ahead of the server's, or more "
            f"than {MOST_BEHIND:.0f} s behind it; set it, such as by NTP",
            math.inf,
        )
    if UNKNOWN_NODE in details:
        # A restarted server does not know the node until the next connection.
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
    """Return the text of a line that Flower marks as an error, or None."""
    match = _ERROR.match(line)
    return match[1] if match else None
