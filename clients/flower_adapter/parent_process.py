"""How long a process of Flower's lives: as long as the one that started it."""

from flwr.supercore.app_utils import start_parent_process_monitor


def end_with(parent: int) -> None:
    """Have this process interrupted, as by Ctrl-C, once the one with that id has ended."""
    start_parent_process_monitor(parent)
