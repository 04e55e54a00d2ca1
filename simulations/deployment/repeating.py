"""Do something again and again while something else goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Call a function every so many seconds, in a thread that ends with the context.

    Parameters
    ----------
    seconds : float
        From the end of a call to the next one.
    call : Callable[[], None]
        Must not raise: nobody would hear it.
    """
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(seconds):
            call()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
