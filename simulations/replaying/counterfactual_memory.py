"""What clients keep to themselves of a round, also had it been another strategy's."""

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from fedssl.client_rules import Visit
from fedssl.client_rules.running import remembered_by
from fedssl.model_state import State
from fedssl.training.client_memory import ClientMemory, without_memory
from fedssl.training.instructions import Instructions
from simulations.record.checkpoint import Checkpoint


class Replies(Protocol):
    """The replies of a round."""

    @property
    def steps(self) -> Mapping[int, int]:
        """How many local steps each client took."""

    def models(self) -> Iterator[tuple[int, int, State]]:
        """Yield each client that was in the round, its number of examples, and its reply."""


def whole(before: Checkpoint, client: int, reply: State) -> State:
    """Return a client's model after a round: what it sent back, and its own of the rest."""
    memory = ClientMemory.from_private(before.clients.get(client, {}))
    return {**before.model, **(memory.own if memory else {}), **reply}


def kept_under(
    instructions: Instructions,
    before: Checkpoint,
    replies: Replies,
    clients: Collection[int],
    visit: Visit,
) -> dict[int, State]:
    """Return what clients would keep of a round, had they had these instructions in it.

    Tensors that stay on the clients are those that a client ended the round with; where it was not
    in it, its own, else those that were sent. The untrained ones, with which clients begin in a
    run, do not go with a trained model.

    Parameters
    ----------
    instructions : Instructions
        What the strategy has clients do in the round.
    before : Checkpoint
        The model that was sent, and what clients did keep.
    replies : Replies
        What came back.
    clients : Collection[int]
        Those who are in rounds that follow.
    visit : Visit
        What rules would have been told of the round: to all clients their first visit.
    """
    kept = {client: without_memory(state) for client, state in before.clients.items()}
    memories: dict[int, ClientMemory] = {}
    for client, _, reply in replies.models():
        if client in clients:
            after = whole(before, client, reply)
            steps, rules = replies.steps.get(client, 0), instructions.build_rules()
            remembered = remembered_by(rules, visit, dict(before.model), after, steps)
            stayed = {name: t for name, t in after.items() if name in instructions.plan.kept}
            memories[client] = ClientMemory(before.round + 1, stayed, remembered)
    for client in clients:
        if client not in memories:
            model = whole(before, client, {})
            local = {name: model[name] for name in instructions.plan.local}
            memories[client] = ClientMemory(0, local)
    for client, memory in memories.items():
        if private := memory.to_private():
            kept[client] = kept.get(client, {}) | private
    return kept
