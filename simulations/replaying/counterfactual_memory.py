"""The private state that clients would have after a round, had another strategy run it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from fedssl.client_rules import ClientRound
from fedssl.client_rules.rule_runner import memory_after
from fedssl.model_state import State
from fedssl.training.client_memory import ClientMemory, without_memory
from fedssl.training.instructions import Instructions
from simulations.record.checkpoint import Checkpoint


class Replies(Protocol):
    """The replies of one round."""

    @property
    def steps(self) -> Mapping[int, int]:
        """The number of local steps of each client."""

    def models(self) -> Iterator[tuple[int, int, State]]:
        """Yield client, number of examples and returned tensors of each reply."""


def complete_model(before: Checkpoint, client: int, reply: State) -> State:
    """Return a client's model after a round: its reply, completed by the tensors it keeps local."""
    memory = ClientMemory.from_private_state(before.clients.get(client, {}))
    return {**before.model, **(memory.local_tensors if memory else {}), **reply}


def private_states_under(
    instructions: Instructions,
    before: Checkpoint,
    replies: Replies,
    clients: Collection[int],
    client_round: ClientRound,
) -> dict[int, State]:
    """Return the clients' private states, had the round been run with these instructions.

    A local tensor has the value with which the client ended the round. A client that was not in the
    round has the value of its own memory, or else the one that was sent. The initial values, which
    clients of a run start from, would not fit a trained model.

    Parameters
    ----------
    instructions : Instructions
        The strategy's instructions for clients in this round.
    before : Checkpoint
        The model that was sent, and the clients' private states after the recorded round.
    replies : Replies
        The recorded replies.
    clients : Collection[int]
        The clients that take part in the rounds that follow.
    client_round : ClientRound
        The round as the client rules would have seen it; for every client it is the first round.
    """
    states = {client: without_memory(state) for client, state in before.clients.items()}
    memories: dict[int, ClientMemory] = {}
    for client, _, reply in replies.models():
        if client in clients:
            after = complete_model(before, client, reply)
            steps, rules = replies.steps.get(client, 0), instructions.build_rules()
            rule_states = memory_after(rules, client_round, dict(before.model), after, steps)
            local = {
                name: t
                for name, t in after.items()
                if name in instructions.transmission.stored_on_client
            }
            memories[client] = ClientMemory(before.round + 1, local, rule_states)
    for client in clients:
        if client not in memories:
            model = complete_model(before, client, {})
            local = {name: model[name] for name in instructions.transmission.local}
            memories[client] = ClientMemory(0, local)
    for client, memory in memories.items():
        if private := memory.to_private_state():
            states[client] = states.get(client, {}) | private
    return states
