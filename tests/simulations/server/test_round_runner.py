"""One client does not end a round, or spoil it, whatever it answers and whatever merges."""

import pytest

from fedssl.model_state import clone
from simulations import RunError
from strategies import STRATEGIES
from tests.tools.faulty_clients import (
    FAULTS,
    OF_BATCHNORM,
    SPOILERS,
    beside,
    raises,
)
from tests.tools.played_rounds import (
    COHORT,
    FAULTY,
    FLOWERS,
    FLOWERS_MOMENTUM,
    ROUND,
    SOME,
    Small,
    failed,
    scene,
    usable,
)
from tests.tools.tensors import same_state


def check_every_fault(small: Small, strategy: str, crossing: bool) -> None:
    with scene(small, strategy, crossing=crossing) as played:
        played.play({FAULTY: raises(ValueError("not here"))})
        without = clone(played.server.state())
        assert not same_state(without, played.model)
        for name, fault in FAULTS.items():
            if strategy == "fedbn" and name in OF_BATCHNORM:
                # These tensors stay on the client.
                continue
            answers = played.play({FAULTY: fault})
            assert [answer.client for answer in answers] == COHORT, name
            reasons = failed(answers)
            assert list(reasons) == [FAULTY], (name, reasons)
            assert len(reasons[FAULTY]) <= 300, name
            assert reasons[FAULTY].isprintable(), name
            assert same_state(played.server.state(), without), name
            assert played.visits() == dict.fromkeys((0, 1, 3, 4, 5), 1.0), name
            # A refused client is not asked again in the round.
            assert played.app.asked.count(FAULTY) == 1, name
        for name, fault in SPOILERS.items():
            reasons = failed(played.play({FAULTY: fault}))
            assert usable(played.server.state()), name
            assert set(reasons) <= {FAULTY}, name
            if reasons:
                assert same_state(played.server.state(), without), name
                assert "largest" in reasons[FAULTY], (name, reasons)
                assert played.visits() == dict.fromkeys((0, 1, 3, 4, 5), 1.0), name


@pytest.mark.parametrize("strategy", SOME)
def test_a_faulty_client_fails_alone(small: Small, strategy: str) -> None:
    check_every_fault(small, strategy, crossing=False)


def test_a_faulty_device_fails_alone(small: Small) -> None:
    check_every_fault(small, "ldawa", crossing=True)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [*STRATEGIES, *FLOWERS])
def test_a_faulty_device_fails_alone_under_every_strategy(small: Small, strategy: str) -> None:
    check_every_fault(small, strategy, crossing=True)


def test_the_client_with_the_longest_update_is_left_out_of_a_mean_that_it_spoils(
    small: Small,
) -> None:
    with scene(small, "fedavg") as played:
        played.play({FAULTY: raises(ValueError("not here")), 4: raises(ValueError("nor here"))})
        without = clone(played.server.state())
        answers = played.play({FAULTY: SPOILERS["weights 1e30"], 4: SPOILERS["weights 1e30"]})
        assert same_state(played.server.state(), without)
        assert list(failed(answers)) == [FAULTY, 4]
        assert "so large that its square is infinite" in failed(answers)[FAULTY]
        assert played.visits() == dict.fromkeys((0, 1, 3, 5), 1.0)
        assert len(played.display.said_texts) == 2


def test_what_one_client_sends_beside_the_model_does_not_spoil_the_next_round(
    small: Small,
) -> None:
    with scene(small, "scaffold") as played:
        played.play({FAULTY: raises(ValueError("not here"))})
        without = clone(played.server.state())
        kept = clone(played.server.strategy_state())
    with scene(small, "scaffold") as played:
        answers = played.play({FAULTY: beside(lambda tensor: tensor * 0 + 1e30)})
        assert list(failed(answers)) == [FAULTY]
        assert "beside it, " in failed(answers)[FAULTY]
        assert same_state(played.server.state(), without)
        assert same_state(played.server.strategy_state(), kept)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_round_that_is_run_again_leaves_no_trace_in_flowers_own_momentum(small: Small) -> None:
    states = []
    for fault in (raises(ValueError("not here")), SPOILERS["weights 1e30"]):
        with scene(small, FLOWERS_MOMENTUM) as played:
            played.play({})
            played.server.train(ROUND + 1, COHORT)
            played.app.faults = {FAULTY: fault}
            assert list(failed(played.server.train(ROUND + 2, COHORT))) == [FAULTY]
            played.app.faults = {}
            played.server.train(ROUND + 3, COHORT)
            states.append(clone(played.server.state()))
    assert same_state(*states)


def test_where_all_updates_are_alike_no_client_is_blamed_for_a_bad_merge(small: Small) -> None:
    with scene(small, "fedavg") as played:
        everybody = dict.fromkeys(COHORT, SPOILERS["weights 1e30"])
        with pytest.raises(RunError, match=r"no single client is responsible.*client\.clip_norm"):
            played.play(everybody)
        assert same_state(played.server.state(), played.model)
        assert played.visits() == {}


def test_a_round_in_which_all_fail_changes_nothing(small: Small) -> None:
    with scene(small, "fedadam") as played:
        with pytest.raises(RunError, match="every client failed; client 0: its reply was refused"):
            played.play(dict.fromkeys(COHORT, FAULTS["weights NaN"]))
        assert same_state(played.server.state(), played.model)
        assert same_state(played.server.strategy_state(), played.kept)
        assert played.visits() == {}


def test_fewer_than_a_strategy_needs_end_the_run_in_one_sentence(small: Small) -> None:
    fields = "strategy={name: krum, byzantine: 1}"
    with scene(small, "krum", fields) as played:
        nan = FAULTS["weights NaN"]
        assert list(failed(played.play({2: nan}))) == [2]
        with pytest.raises(RunError) as raised:
            played.play({1: nan, 2: nan})
        assert str(raised.value).startswith(
            "round 9: 4 of 6 clients succeeded, but the strategy krum needs 5; client 1: its reply"
        )
        assert "\n" not in str(raised.value)
