"""What a client remembers from visit to visit, as tensors of its private state."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedssl.client_rules.movement import as_number
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
        "fedema": own | {name: as_number(value) for name, value in facts.items()},
        "mine.Rule": {"a/b c.d": own["encoder.bias"]},
    }
    private = ClientMemory(round, own, rules).to_private()
    assert all(" " in name for name in private)
    back = ClientMemory.from_private({**private, **OTHERS})
    assert back is not None
    assert back.round == round
    assert back.own.keys() == own.keys()
    assert all(torch.equal(back.own[n], t) for n, t in own.items())
    assert {rule: kept.keys() for rule, kept in back.rules.items()} == {
        rule: kept.keys() for rule, kept in rules.items()
    }
    for rule, kept in rules.items():
        assert all(torch.equal(back.rules[rule][n], t) for n, t in kept.items())
    assert {n: back.rules["fedema"][n].item() for n in facts} == facts
    own["encoder.bias"].zero_()
    assert back.own["encoder.bias"].any()
    assert back.rules["mine.Rule"]["a/b c.d"].any()


def test_without_a_visit_there_is_nothing_to_remember() -> None:
    assert ClientMemory.from_private(OTHERS) is None
    assert ClientMemory(3).to_private() == {}
    assert ClientMemory(3, rules={"proximal": {}}).to_private() == {}


@pytest.mark.parametrize(
    "memory",
    [
        ClientMemory(3, {"encoder.mean": torch.ones(2)}),
        ClientMemory(3, rules={"moon": {"encoder.mean": torch.ones(2)}}),
    ],
)
def test_it_can_be_taken_out_of_a_private_state(memory: ClientMemory) -> None:
    private = {**OTHERS, **memory.to_private(), "last moved": torch.ones(1)}
    assert without_memory(private) == OTHERS


def test_what_an_older_version_wrote_is_known() -> None:
    older = {"last round": as_number(3.0), "last moved": as_number(0.5), "own a": torch.ones(2)}
    assert ClientMemory.is_old(older)
    assert not ClientMemory.is_old(ClientMemory(3, {"a": torch.ones(2)}).to_private())
    found = ClientMemory.from_private(older)
    assert found is not None
    assert (found.round, list(found.own), dict(found.rules)) == (3, ["a"], {})
