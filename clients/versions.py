"""Compare the package versions of server and client."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version

import flwr
import torch

from clients.flower_adapter.process_output import MOST_AHEAD, MOST_BEHIND

_HARMLESS = {
    "torch": "the last bits of the weights may differ, and with them those of the result",
    "python": "it does not matter",
}


def list_versions() -> dict[str, str]:
    """Return the versions of the packages on which training and messages depend."""
    return {
        "fedssl": version("fedssl"),
        "torch": str(torch.__version__),
        "flower": flwr.__version__,
        "python": platform.python_version(),
    }


def read_versions(text: object) -> dict[str, str]:
    """Return the versions in a text from the other side; empty where the text is invalid."""
    try:
        versions = json.loads(text) if isinstance(text, str) and len(text) < 1000 else None
    except ValueError:
        versions = None
    if not isinstance(versions, dict):
        return {}
    return {name: str(versions[name])[:50] for name in list_versions() if name in versions}


def compare_versions(server: Mapping[str, str]) -> list[str]:
    """Compare each package's version, and say whether a difference matters.

    Parameters
    ----------
    server : Mapping[str, str]
        The server's versions, from `read_versions`.

    Returns
    -------
    list[str]
        A line for each package.
    """
    lines = []
    for name, installed in list_versions().items():
        if name not in server:
            continue
        if server[name] == installed:
            lines.append(f"{name}: both have {installed}")
            continue
        matters = _HARMLESS.get(name, "install the same on both")
        lines.append(f"{name}: the server has {server[name]}, this device {installed}: {matters}")
    return lines


def compare_clocks(seconds_ahead: float) -> str:
    """Compare this device's clock with the server's.

    >>> compare_clocks(-8)[:29]
    "clock: 8 s behind the server'"

    Parameters
    ----------
    seconds_ahead : float
        The seconds by which this clock is ahead of the server's. A message's delay of some seconds
        has the same effect as a clock that is ahead.
    """
    if seconds_ahead < 0:
        return (
            f"clock: {-seconds_ahead:.0f} s behind the server's; the server refuses one that is "
            f"more than {MOST_BEHIND:.0f} s behind"
        )
    return (
        f"clock: the server's, to within {seconds_ahead:.0f} s; the server refuses one that is "
        f"more than {MOST_AHEAD:.0f} s ahead or {MOST_BEHIND:.0f} s behind"
    )
