"""Ctrl-C, and what else stops a command."""

import os
import signal
import sys
import threading
from collections.abc import Callable


def stop_like_ctrl_c() -> None:
    """Treat the signals that stop a service or a cluster's job like Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


def lose_no_ctrl_c() -> None:
    """Let a Ctrl-C stop the command even if Python would drop it.

    What is raised while an object is deleted goes to `sys.unraisablehook` and no further: Python
    prints it, and the command goes on.
    """
    if not isinstance(sys.unraisablehook, _SendsAgain):
        sys.unraisablehook = _SendsAgain(sys.unraisablehook)


class _SendsAgain:
    def __init__(self, before: "Callable[[sys.UnraisableHookArgs], None]") -> None:
        self._before = before

    def __call__(self, dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            # A little later, when the object is gone.
            timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
            timer.daemon = True
            timer.start()
        else:
            self._before(dropped)
