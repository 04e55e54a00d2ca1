"""Recognise Flower's simulation."""

from flwr.serverapp import Grid
from flwr.superlink.grid import InMemoryGrid


def is_simulated(grid: Grid) -> bool:
    """Return whether a Grid is that of Flower's simulation, which gets no new nodes later."""
    return isinstance(grid, InMemoryGrid)
