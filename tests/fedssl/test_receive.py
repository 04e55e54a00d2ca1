"""What clients make of a received model, by the rules written out, and what they remember."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedssl.asked import Asked
from fedssl.last_visit import LastVisit, to_remember
from fedssl.receive import Start, movement, own_share, receive
from fedssl.state import State

PARAMETERS = ("encoder.conv", "encoder.bias", "projector.weight", "predictor.weight")


def state(value: float) -> State:
    shapes = {"encoder.conv": (2, 3, 3, 3), "projector.weight": (2, 2), "predictor.weight": (2, 2)}
    tensors = {name: torch.full(shape, value) for name, shape in shapes.items()}
    small = {n: torch.full((2,), value) for n in ("encoder.bias", "encoder.mean", "predictor.mean")}
    return tensors | small


def start(asked: Asked, last: LastVisit | None, round: int, received: State | None = None) -> Start:
    return receive(
        asked,
        state(1.0) if received is None else received,
        last,
        initial=lambda: state(-1.0),
        parameters=PARAMETERS,
        round=round,
    )


def values(made: Start) -> dict[str, float]:
    return {name: tensor.mean().item() for name, tensor in made.state.items()}


def test_who_is_asked_for_nothing_takes_what_comes() -> None:
    received = state(1.0)
    made = start(Asked(), LastVisit(3, 0.5, own=state(2.0)), 4, received)
    assert made.state == received
    assert not made.anew


# FedEMA


def test_the_first_visit_takes_everything_global() -> None:
    made = start(Asked(fedema_tau=0.7), None, 5)
    assert set(values(made).values()) == {1.0}
    assert made.scale is None
    assert not made.anew


@pytest.mark.parametrize("scale", [None, 0.5])
def test_a_client_that_was_absent_takes_everything_global_and_starts_anew(
    scale: float | None,
) -> None:
    made = start(Asked(fedema_tau=0.7), LastVisit(2, 0.5, scale, own=state(2.0)), 4)
    assert set(values(made).values()) == {1.0}
    assert made.scale == scale
    assert made.anew


def test_the_first_mix_has_the_share_tau_of_parameters_and_nothing_else_of_its_own() -> None:
    own = {name: tensor for name, tensor in state(2.0).items() if name in PARAMETERS}
    made = start(Asked(fedema_tau=0.7), LastVisit(3, 0.4, own=own), 4)
    for name, value in values(made).items():
        assert value == pytest.approx(1.7 if name in PARAMETERS else 1.0)
    assert made.scale == pytest.approx(0.7 / 0.4)


@given(
    first=st.floats(1e-3, 10), later=st.lists(st.floats(0, 10), max_size=5), tau=st.floats(0.01, 2)
)
def test_later_shares_follow_the_divergence_with_the_first_scale(
    first: float, later: list[float], tau: float
) -> None:
    share, scale = own_share(first, None, tau)
    assert share == pytest.approx(min(1.0, tau))
    assert scale == pytest.approx(tau / first)
    for moved in later:
        share, again = own_share(moved, scale, tau)
        assert again == scale
        assert share == pytest.approx(min(1.0, tau * moved / first))


def test_a_client_that_never_moved_fixes_no_scale() -> None:
    assert own_share(0.0, None, 0.7) == (0.0, None)


# FedU


@pytest.mark.parametrize(("moved", "kept"), [(0.39, False), (0.4, True), (7.0, True)])
def test_the_predictor_stays_where_the_encoder_moved_far(moved: float, kept: bool) -> None:
    own = {n: t for n, t in state(2.0).items() if n.startswith("predictor.")}
    asked = Asked(fedu_threshold=0.4)
    for name, value in values(start(asked, LastVisit(1, moved, own=own), 9)).items():
        assert value == (2.0 if kept and name.startswith("predictor.") else 1.0)
    assert set(values(start(asked, None, 9)).values()) == {1.0}


# What stays local, and schedules


def test_what_is_local_begins_as_the_seed_makes_it_and_goes_on_from_the_last_visit() -> None:
    asked = Asked(local=("projector.weight", "predictor.weight"))
    received = {n: t for n, t in state(1.0).items() if n not in asked.local}
    own = {n: t for n, t in state(2.0).items() if n in asked.local}
    first = values(start(asked, None, 1, received))
    later = values(start(asked, LastVisit(1, 0.0, own=own), 9, received))
    assert {n: first[n] for n in asked.local} == dict.fromkeys(asked.local, -1.0)
    assert {n: later[n] for n in asked.local} == dict.fromkeys(asked.local, 2.0)
    assert {first[n] for n in received} == {later[n] for n in received} == {1.0}


@pytest.mark.parametrize(
    ("visit", "kept"),
    [
        (1, []),
        (4, []),
        (5, ["encoder.bias"]),
        (6, ["encoder.bias"]),
        (7, ["encoder.bias", "encoder.conv"]),
    ],
)
def test_ones_own_layer_is_kept_while_it_is_newer_than_its_last_merge(
    visit: int, kept: list[str]
) -> None:
    asked = Asked(scheduled=("encoder.conv", "encoder.bias"), merged=(6, 4))
    made = values(start(asked, LastVisit(visit, 0.0, own=state(2.0)), 8))
    assert sorted(name for name, value in made.items() if value == 2.0) == kept


# How far an update moved the encoder


def naive_movement(before: State, after: State) -> float:
    total, count = 0.0, 0
    for name in before:
        if name.startswith("encoder.") and name in PARAMETERS and before[name].dim() >= 2:
            pairs = zip(
                before[name].flatten().tolist(), after[name].flatten().tolist(), strict=True
            )
            total += math.sqrt(sum((a - b) ** 2 for a, b in pairs))
            count += 1
    return total / count


tensors = st.lists(st.floats(-5, 5, width=32), min_size=6, max_size=6).map(
    lambda row: torch.tensor(row).reshape(2, 3)
)


@given(tensors, tensors)
def test_movement_is_the_mean_distance_of_the_encoders_weights(one: Tensor, two: Tensor) -> None:
    before = state(1.0) | {"encoder.conv": one}
    after = state(9.0) | {"encoder.conv": two}
    assert movement(before, after, PARAMETERS) == pytest.approx(naive_movement(before, after))
    assert movement(before, before, PARAMETERS) == 0.0


# What is remembered


@given(
    st.integers(1, 2**31),
    st.floats(0, 1e9),
    st.none() | st.floats(1e-9, 1e9),
)
def test_a_visit_is_remembered_to_the_bit(round: int, moved: float, scale: float | None) -> None:
    own = state(2.0)
    private = LastVisit(round, moved, scale, own).to_private()
    assert all(" " in name for name in private)
    back = LastVisit.from_private(
        {**private, "target.weight": torch.ones(1), "optimizer 0.m": own["encoder.bias"]}
    )
    assert back is not None
    assert (back.round, back.moved, back.scale) == (round, moved, scale)
    assert back.own.keys() == own.keys()
    assert all(torch.equal(back.own[n], t) for n, t in own.items())
    own["encoder.bias"].zero_()
    assert back.own["encoder.bias"].any()


def test_without_a_visit_there_is_nothing_to_remember() -> None:
    assert LastVisit.from_private({"target.weight": torch.ones(1)}) is None
    assert to_remember(Asked(proximal_mu=1.0), state(1.0), PARAMETERS) == {}


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (Asked(local=("encoder.mean",)), {"encoder.mean"}),
        (Asked(scheduled=("encoder.bias",), merged=(0,)), {"encoder.bias"}),
        (Asked(fedema_tau=0.7), set(PARAMETERS)),
        (Asked(fedu_threshold=0.4), {"predictor.weight", "predictor.mean"}),
        (Asked(moon_mu=1.0), {n for n in state(1.0) if not n.startswith("predictor.")}),
    ],
)
def test_no_more_is_remembered_than_will_be_asked_for(asked: Asked, names: set[str]) -> None:
    assert to_remember(asked, state(1.0), PARAMETERS).keys() == names
