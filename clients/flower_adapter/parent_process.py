"""End a process of Flower together with the one that started it."""

from flwr.supercore.app_utils import start_parent_process_monitor


def end_with(parent: int) -> None:
    """Interrupt this process, as by Ctrl-C, once the process with this id has ended."""
    start_parent_process_monitor(parent)
