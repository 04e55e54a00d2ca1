"""FedU's rule for the predictor."""

import pytest

from fedssl.client_rules.fedu import KeepPredictor
from fedssl.client_rules.movement import movement, number_tensor
from fedssl.model_state import State
from tests.tools.client_rules import PARAMETERS, client_round, constant_state, remembered

PREDICTOR = ("predictor.weight", "predictor.mean")


def rule() -> KeepPredictor:
    return KeepPredictor(KeepPredictor.Config(threshold=0.4))


def memory(moved: float) -> State:
    return {name: constant_state(2.0)[name] for name in PREDICTOR} | {"moved": number_tensor(moved)}


@pytest.mark.parametrize(("moved", "kept"), [(0.39, False), (0.4, True), (7.0, True)])
def test_the_predictor_stays_where_the_encoder_moved_far(moved: float, kept: bool) -> None:
    # However long ago that was.
    start = rule().initial_tensors(client_round(server_round=9, memory=memory(moved), last_round=1))
    assert start.keys() == (set(PREDICTOR) if kept else set())
    assert all((tensor == 2.0).all() for tensor in start.values())


def test_the_first_visit_takes_everything_global() -> None:
    assert rule().initial_tensors(client_round(server_round=9)) == {}
    assert not rule().resets_private_state(client_round(server_round=9))


def test_the_predictor_and_how_far_the_encoder_moved_are_remembered() -> None:
    kept = remembered(rule(), client_round(), before=1.0, after=3.0)
    assert kept.keys() == {*PREDICTOR, "moved"}
    assert (
        kept["moved"].item() == movement(constant_state(1.0), constant_state(3.0), PARAMETERS) > 0
    )
    assert (kept["predictor.weight"] == 3.0).all()
