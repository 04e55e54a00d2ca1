"""What clients keep to themselves of a round, also had it been another strategy's."""

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from fedssl.client_rules import ClientRound
from fedssl.client_rules.rule_runner import memory_after
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
    memory = ClientMemory.from_client_state(before.clients.get(client, {}))
    return {**before.model, **(memory.local_tensors if memory else {}), **reply}


def kept_under(
    instructions: Instructions,
    before: Checkpoint,
    replies: Replies,
    clients: Collection[int],
    client_round: ClientRound,
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
    client_round : ClientRound
        The round as client rules would have known it; for all clients it is their first.
    """
    kept = {client: without_memory(state) for client, state in before.clients.items()}
    memories: dict[int, ClientMemory] = {}
    for client, _, reply in replies.models():
        if client in clients:
            after = whole(before, client, reply)
            steps, rules = replies.steps.get(client, 0), instructions.build_rules()
            remembered = memory_after(rules, client_round, dict(before.model), after, steps)
            stayed = {
                name: t
                for name, t in after.items()
                if name in instructions.transmission.stored_on_client
            }
            memories[client] = ClientMemory(before.round + 1, stayed, remembered)
    for client in clients:
        if client not in memories:
            model = whole(before, client, {})
            local = {name: model[name] for name in instructions.transmission.local}
            memories[client] = ClientMemory(0, local)
    for client, memory in memories.items():
        if private := memory.to_client_state():
            kept[client] = kept.get(client, {}) | private
    return kept
