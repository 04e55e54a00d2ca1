"""FedEMA's mix by the rule written out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedssl.client_rules.fedema import Mixture, mixing_weight
from fedssl.client_rules.movement import movement, number_tensor
from fedssl.model_state import State
from tests.tools.client_rules import PARAMETERS, client_round, constant_state, remembered


def rule(tau: float = 0.7) -> Mixture:
    return Mixture(Mixture.Config(tau=tau))


def memory(value: float, moved: float, scale: float | None = None) -> State:
    own = {name: tensor for name, tensor in constant_state(value).items() if name in PARAMETERS}
    facts = {"moved": number_tensor(moved)} | (
        {} if scale is None else {"scale": number_tensor(scale)}
    )
    return own | facts


def test_the_first_visit_takes_everything_global() -> None:
    made, seen = rule(), client_round(server_round=5)
    assert made.initial_tensors(seen) == {}
    assert not made.resets_private_state(seen)
    assert "scale" not in remembered(made, seen)


@pytest.mark.parametrize("scale", [None, 0.5])
def test_a_client_that_was_absent_takes_everything_global_and_starts_anew(
    scale: float | None,
) -> None:
    made, seen = rule(), client_round(memory=memory(2.0, 0.5, scale), last_round=2)
    assert made.initial_tensors(seen) == {}
    assert made.resets_private_state(seen)
    kept = remembered(made, seen).get("scale")
    assert (None if kept is None else kept.item()) == scale


def test_the_first_mix_has_the_share_tau_of_parameters_and_nothing_else_of_its_own() -> None:
    made, seen = rule(), client_round(memory=memory(2.0, 0.4), last_round=3)
    start = made.initial_tensors(seen)
    assert start.keys() == set(PARAMETERS)
    for tensor in start.values():
        assert tensor.flatten().tolist() == pytest.approx([1.7] * tensor.numel())
    assert not made.resets_private_state(seen)
    assert remembered(made, seen)["scale"].item() == pytest.approx(0.7 / 0.4)


def test_a_later_mix_has_a_share_by_how_far_the_client_moved() -> None:
    made = rule()
    start = made.initial_tensors(client_round(memory=memory(2.0, 0.4, 0.5), last_round=3))
    assert start["encoder.conv"].mean().item() == pytest.approx(1.2)


@given(
    first=st.floats(1e-3, 10), later=st.lists(st.floats(0, 10), max_size=5), tau=st.floats(0.01, 2)
)
def test_later_shares_follow_the_divergence_with_the_first_scale(
    first: float, later: list[float], tau: float
) -> None:
    share, scale = mixing_weight(first, None, tau)
    assert share == pytest.approx(min(1.0, tau))
    assert scale == pytest.approx(tau / first)
    for moved in later:
        share, again = mixing_weight(moved, scale, tau)
        assert again == scale
        assert share == pytest.approx(min(1.0, tau * moved / first))


def test_a_client_that_never_moved_fixes_no_scale() -> None:
    assert mixing_weight(0.0, None, 0.7) == (0.0, None)


def test_the_parameters_and_how_far_it_moved_are_remembered() -> None:
    kept = remembered(rule(), client_round(), before=1.0, after=3.0)
    assert kept.keys() == {*PARAMETERS, "moved"}
    assert (
        kept["moved"].item() == movement(constant_state(1.0), constant_state(3.0), PARAMETERS) > 0
    )
    assert (kept["encoder.conv"] == 3.0).all()
