from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies.naive import mean
from tests.tools.strategy_rounds import (
    Client,
    cohorts,
    make_strategy,
    model,
    play_round,
)
from tests.tools.tensors import assert_states_close

quick = settings(deadline=None, max_examples=12)


@quick
@given(answers=cohorts, steps=st.integers(1, 50))
def test_with_equal_steps_fednova_is_fedavg(answers: list[Client], steps: int) -> None:
    equal = [replace(a, steps=steps) for a in answers]
    assert_states_close(play_round(make_strategy("fednova"), model(77), equal), mean(equal))
