"""Call a function periodically while a context lasts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def call_periodically(seconds: float, function: Callable[[], None]) -> Iterator[None]:
    """Call a function periodically, in a thread that ends with the context.

    Parameters
    ----------
    seconds : float
        The time from the end of a call to the start of the next one.
    function : Callable[[], None]
        The function. It must not raise: nobody would see the error.
    """
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(seconds):
            function()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
