"""What clients keep of a round."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from fedssl.client_rules import ClientRound
from fedssl.client_rules.fedema import Mixture
from fedssl.client_rules.movement import movement
from fedssl.client_rules.scaffold import ControlVariates
from fedssl.model_state import State, TensorRoles
from fedssl.training.client_memory import ClientMemory
from fedssl.training.instructions import Instructions
from fedssl.training.transmission import TransmissionPlan
from simulations.record.checkpoint import Checkpoint
from simulations.replaying.counterfactual_memory import complete_model, private_states_under


def model(encoder: float, head: float) -> State:
    return {"encoder.w": torch.full((1, 2), encoder), "projector.w": torch.full((2,), head)}


HEAD = ("projector.w",)
NAMES = frozenset(model(0, 0))
OWN = ClientMemory(2, {"projector.w": torch.full((2,), 9.0)}).to_private_state()
REPLIES = [(0, 5, model(4.0, 5.0)), (1, 5, {"encoder.w": torch.full((1, 2), 1.0)})]
BEFORE = Checkpoint(
    2, model(1.0, 2.0), clients={0: {"target": torch.ones(1)}, 1: {**OWN}, 3: {**OWN}}
)
EXTRA = {f"scaffold/{name}": tensor for name, tensor in model(0.25, 0.5).items()}
VISIT = ClientRound(
    server_round=3,
    round_start=BEFORE.model,
    received_names=NAMES,
    trainable_names=NAMES,
    roles=TensorRoles(),
    extra=EXTRA,
    lr=0.1,
)


@dataclass(frozen=True)
class Kept:
    """The replies of clients 0 and 1, of four steps each."""

    steps: Mapping[int, int]

    def models(self) -> Iterator[tuple[int, int, State]]:
        yield from REPLIES


def kept(instructions: Instructions, clients: set[int]) -> dict[int, State]:
    return private_states_under(instructions, BEFORE, Kept({0: 4, 1: 4}), clients, VISIT)


def visits(instructions: Instructions, clients: set[int]) -> dict[int, ClientMemory | None]:
    found = kept(instructions, clients)
    return {client: ClientMemory.from_private_state(state) for client, state in found.items()}


def test_a_complete_model_is_the_reply_and_what_stayed_on_the_client() -> None:
    torch.testing.assert_close(complete_model(BEFORE, 0, REPLIES[0][2]), model(4.0, 5.0))
    torch.testing.assert_close(complete_model(BEFORE, 1, REPLIES[1][2]), model(1.0, 9.0))


def test_clients_keep_their_own_tensors_as_the_round_left_them() -> None:
    found = visits(Instructions(TransmissionPlan(local=HEAD)), {0, 1, 2, 3})
    heads = {c: float(m.local_tensors["projector.w"][0]) for c, m in found.items() if m}
    # Client 2 was not in the round and has none of its own; client 3 has, from an earlier one.
    assert heads == {0: 5.0, 1: 9.0, 2: 2.0, 3: 9.0}
    assert {c: m.last_round for c, m in found.items() if m} == {0: 3, 1: 3, 2: 0, 3: 0}


def test_clients_remember_for_a_rule_what_the_round_would_have_left() -> None:
    found = visits(Instructions(rules=(Mixture.Config(),)), {0, 1, 2})
    # Only those who were in it.
    assert {c: list(m.rules) for c, m in found.items() if m} == {0: ["fedema"], 1: ["fedema"]}
    memory = found[0]
    assert memory is not None
    moved = movement(BEFORE.model, model(4.0, 5.0), NAMES)
    assert memory.rules["fedema"]["moved"].item() == moved > 0
    assert memory.rules["fedema"]["encoder.w"].tolist() == [[4.0, 4.0]]


def test_a_rules_memory_takes_the_clients_steps_and_what_was_sent_for_it() -> None:
    memory = visits(Instructions(rules=(ControlVariates.Config(),)), {0})[0]
    assert memory is not None
    # (x − y) / (η·K) − c of the first visit.
    expected = {"encoder.w": (1 - 4) / 0.4 - 0.25, "projector.w": (2 - 5) / 0.4 - 0.5}
    for name, value in expected.items():
        torch.testing.assert_close(
            memory.rules["scaffold"][name], torch.full_like(BEFORE.model[name], value)
        )


def test_what_nobody_asks_for_is_forgotten() -> None:
    found = kept(Instructions(), {0, 1, 2})
    assert {client: sorted(state) for client, state in found.items()} == {
        0: ["target"],
        1: [],
        3: [],
    }


def test_clients_of_no_later_round_keep_nothing_for_the_strategy() -> None:
    both = Instructions(TransmissionPlan(local=HEAD), (Mixture.Config(tau=0.7),))
    assert not any(visits(both, set()).values())
