"""The server's summary of one client's reply."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClientResult:
    """What the server records of one reply, or of a client's failure, when it checks it.

    Parameters
    ----------
    client : int
        The client's number, from 0.
    error : str | None
        Why the client failed; None where it succeeded.
    refused : bool
        Whether it failed because its reply cannot be used; it is then left out of the round.
    lost : bool
        Whether it failed because it went away, or because its reply came too late.
    examples : int
        The number of its training examples.
    loss : float
        The mean training loss; NaN where the client does not report it.
    seconds : float
        The seconds that its local update took.
    divergence : tuple[float, ...]
        δ of each floating tensor, in the model's order; empty where the server did not ask for it.
    bytes_up : int
        The bytes that the client sent.
    norm : float | None
        The norm of its update, ‖w − g‖₂; None where it was not computed.
    clipped : bool
        Whether the update was shortened to ``strategy.max_update_norm``.
    """

    client: int
    error: str | None = None
    refused: bool = False
    lost: bool = False
    examples: int = 0
    loss: float = float("nan")
    seconds: float = 0.0
    divergence: tuple[float, ...] = ()
    bytes_up: int = 0
    norm: float | None = None
    clipped: bool = False
