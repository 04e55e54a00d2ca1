"""What is kept of a client's reply."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What is kept of a client's reply once the strategy has merged it."""

    client: int
    error: str | None = None
    """Why the client failed; None where it did not."""
    refused: bool = False
    """Whether it failed because its reply cannot be used: it is not asked again in the round."""
    lost: bool = False
    """Whether it failed because it went away, or was too late."""
    examples: int = 0
    loss: float = float("nan")
    """NaN where the client does not tell it."""
    seconds: float = 0.0
    divergence: tuple[float, ...] = ()
    """δ of each floating tensor, in the model's order; empty where it was not asked for."""
    bytes_up: int = 0
    norm: float | None = None
    """‖w − g‖₂ of its update; None where it was not measured."""
    clipped: bool = False
    """Whether its update was shortened to ``strategy.max_update_norm``."""
