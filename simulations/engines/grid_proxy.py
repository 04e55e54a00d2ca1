"""A Flower Grid that wraps another one."""

from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from clients.flower_adapter.messages import Run


class WrappedGrid(Grid):
    """Passes every call on to another Grid; a subclass overrides what it changes.

    Parameters
    ----------
    grid : Grid
        The wrapped Grid.
    """

    def __init__(self, grid: Grid):
        self._grid = grid

    def set_run(self, run: Run) -> None:
        """Pass the call on."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The run of the wrapped Grid."""
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pass the call on."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pass the call on."""
        return self._grid.pull_messages(message_ids)
