"""What a client remembers from visit to visit, as tensors of its private state."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedssl.client_rules.movement import number_tensor
from fedssl.training.client_memory import ClientMemory, without_memory
from tests.tools.client_rules import constant_state

OTHERS = {"target.weight": torch.ones(1), "optimizer 0.m": torch.zeros(1)}


@given(
    st.integers(1, 2**31),
    st.floats(0, 1e9),
    st.none() | st.floats(1e-9, 1e9),
)
def test_a_visit_is_remembered_to_the_bit(round: int, moved: float, scale: float | None) -> None:
    own = constant_state(2.0)
    facts = {"moved": moved} | ({} if scale is None else {"scale": scale})
    rules = {
        "fedema": own | {name: number_tensor(value) for name, value in facts.items()},
        "mine.Rule": {"a/b c.d": own["encoder.bias"]},
    }
    private = ClientMemory(round, own, rules).to_private_state()
    assert all(" " in name for name in private)
    back = ClientMemory.from_private_state({**private, **OTHERS})
    assert back is not None
    assert back.last_round == round
    assert back.local_tensors.keys() == own.keys()
    assert all(torch.equal(back.local_tensors[n], t) for n, t in own.items())
    assert {rule: kept.keys() for rule, kept in back.rules.items()} == {
        rule: kept.keys() for rule, kept in rules.items()
    }
    for rule, kept in rules.items():
        assert all(torch.equal(back.rules[rule][n], t) for n, t in kept.items())
    assert {n: back.rules["fedema"][n].item() for n in facts} == facts
    own["encoder.bias"].zero_()
    assert back.local_tensors["encoder.bias"].any()
    assert back.rules["mine.Rule"]["a/b c.d"].any()


def test_without_a_visit_there_is_nothing_to_remember() -> None:
    assert ClientMemory.from_private_state(OTHERS) is None
    assert ClientMemory(3).to_private_state() == {}
    assert ClientMemory(3, rules={"proximal": {}}).to_private_state() == {}


@pytest.mark.parametrize(
    "memory",
    [
        ClientMemory(3, {"encoder.mean": torch.ones(2)}),
        ClientMemory(3, rules={"moon": {"encoder.mean": torch.ones(2)}}),
    ],
)
def test_it_can_be_taken_out_of_a_private_state(memory: ClientMemory) -> None:
    private = {**OTHERS, **memory.to_private_state(), "last moved": torch.ones(1)}
    assert without_memory(private) == OTHERS


def test_what_an_older_version_wrote_is_known() -> None:
    older = {
        "last round": number_tensor(3.0),
        "last moved": number_tensor(0.5),
        "own a": torch.ones(2),
    }
    assert ClientMemory.has_old_format(older)
    assert not ClientMemory.has_old_format(ClientMemory(3, {"a": torch.ones(2)}).to_private_state())
    found = ClientMemory.from_private_state(older)
    assert found is not None
    assert (found.last_round, list(found.local_tensors), dict(found.rules)) == (3, ["a"], {})
