"""What clients keep to themselves of a round, also had it been another strategy's."""

from collections.abc import Collection, Iterable

from fedssl.asked import Asked
from fedssl.last_visit import LastVisit, to_remember, without_last_visit
from fedssl.receive import movement
from fedssl.state import State
from simulations.checkpoint import Checkpoint


def whole(before: Checkpoint, client: int, reply: State) -> State:
    """Return a client's model after a round: what it sent back, and its own of the rest."""
    last = LastVisit.from_private(before.clients.get(client, {}))
    return {**before.model, **(last.own if last else {}), **reply}


def kept_under(
    asked: Asked,
    before: Checkpoint,
    models: Iterable[tuple[int, int, State]],
    clients: Collection[int],
    parameters: Collection[str],
) -> dict[int, State]:
    """Return what clients would keep of a round, had they been asked for this in it.

    Tensors that stay on the clients are those that a client ended the round with; where it was not
    in it, its own, else those that were sent. The untrained ones, with which clients begin in a
    run, do not go with a trained model.

    Parameters
    ----------
    asked : Asked
        What the strategy asks for in the round.
    before : Checkpoint
        The model that was sent, and what clients did keep.
    models : Iterable[tuple[int, int, State]]
        Each client that was in the round, its number of examples, and its reply.
    clients : Collection[int]
        Those who are in rounds that follow.
    parameters : Collection[str]
        The names of the tensors that are trained.
    """
    kept = {client: without_last_visit(state) for client, state in before.clients.items()}
    visits: dict[int, LastVisit] = {}
    for client, _, reply in models:
        if client in clients:
            after = whole(before, client, reply)
            moved = movement(before.model, after, parameters)
            own = to_remember(asked, after, parameters)
            visits[client] = LastVisit(before.round + 1, moved, own=own)
    for client in clients:
        if client not in visits:
            model = whole(before, client, {})
            visits[client] = LastVisit(0, 0.0, own={name: model[name] for name in asked.local})
    for client, visit in visits.items():
        if visit.own:
            kept[client] = kept.get(client, {}) | visit.to_private()
    return kept
