import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.fedavg import merge
from tests.tools.strategy_models import State, cohorts, model, naive_fedavg
from tests.tools.tensors import assert_states_close

quick = settings(deadline=None, max_examples=30)


@quick
@given(cohorts)
def test_it_is_the_mean_by_examples(cohort: tuple[list[State], list[int]]) -> None:
    states, examples = cohort
    assert_states_close(merge(states, examples), naive_fedavg(states, examples))


@quick
@given(cohorts, st.randoms(use_true_random=False))
def test_the_order_of_the_clients_does_not_matter(cohort, random) -> None:  # type: ignore[no-untyped-def]
    pairs = list(zip(*cohort, strict=True))
    shuffled = random.sample(pairs, len(pairs))
    states, examples = zip(*shuffled, strict=True)
    assert_states_close(merge(states, examples), merge(*cohort))


@quick
@given(st.lists(st.integers(1, 9_000), min_size=1, max_size=5))
def test_identical_clients_change_nothing(examples: list[int]) -> None:
    state = model(3)
    assert_states_close(merge([state] * len(examples), examples), state)


def test_constants() -> None:
    states = [{"w": torch.full((3,), value)} for value in (1.0, 5.0)]
    assert merge(states, [3, 1])["w"].tolist() == [2.0, 2.0, 2.0]
