"""What clients keep of a round."""

import torch

from fedssl.asked import Asked
from fedssl.last_visit import LastVisit
from fedssl.state import State
from simulations.checkpoint import Checkpoint
from simulations.replaying.private import kept_under, whole


def model(encoder: float, head: float) -> State:
    return {"encoder.w": torch.full((1, 2), encoder), "projector.w": torch.full((2,), head)}


HEAD = ("projector.w",)
NAMES = frozenset(model(0, 0))
OWN = LastVisit(2, 0.5, own={"projector.w": torch.full((2,), 9.0)}).to_private()
REPLIES = [(0, 5, model(4.0, 5.0)), (1, 5, {"encoder.w": torch.full((1, 2), 1.0)})]
BEFORE = Checkpoint(
    2, model(1.0, 2.0), clients={0: {"target": torch.ones(1)}, 1: {**OWN}, 3: {**OWN}}
)


def visits(asked: Asked, clients: set[int]) -> dict[int, LastVisit | None]:
    kept = kept_under(asked, BEFORE, REPLIES, clients, NAMES)
    return {client: LastVisit.from_private(state) for client, state in kept.items()}


def test_a_whole_model_is_the_reply_and_what_stayed_on_the_client() -> None:
    torch.testing.assert_close(whole(BEFORE, 0, REPLIES[0][2]), model(4.0, 5.0))
    torch.testing.assert_close(whole(BEFORE, 1, REPLIES[1][2]), model(1.0, 9.0))


def test_clients_keep_their_own_tensors_as_the_round_left_them() -> None:
    found = visits(Asked(local=HEAD), {0, 1, 2, 3})
    heads = {c: float(v.own["projector.w"][0]) for c, v in found.items() if v}
    # Client 2 was not in the round and has none of its own; client 3 has, from an earlier one.
    assert heads == {0: 5.0, 1: 9.0, 2: 2.0, 3: 9.0}
    assert {c: v.round for c, v in found.items() if v} == {0: 3, 1: 3, 2: 0, 3: 0}
    assert found[0] is not None
    assert found[0].moved > 0


def test_what_nobody_asks_for_is_forgotten() -> None:
    kept = kept_under(Asked(), BEFORE, REPLIES, {0, 1, 2}, NAMES)
    assert {client: sorted(state) for client, state in kept.items()} == {
        0: ["target"],
        1: [],
        3: [],
    }


def test_clients_of_no_later_round_keep_nothing_for_the_strategy() -> None:
    assert not any(visits(Asked(local=HEAD, fedema_tau=0.7), set()).values())
