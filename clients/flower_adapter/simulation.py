"""Flower's simulation, as a Flower app sees it."""

from flwr.serverapp import Grid
from flwr.superlink.grid import InMemoryGrid


def is_simulated(grid: Grid) -> bool:
    """Return whether a Grid is of Flower's simulation, whose nodes are there from the start."""
    return isinstance(grid, InMemoryGrid)
