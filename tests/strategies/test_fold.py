"""Client models become one, each read once and none written to."""

import itertools
from collections.abc import Iterator

import pytest
import torch

from strategies.fedavg import merge
from tests.tools.strategy_models import State, model
from tests.tools.tensors import assert_states_close


def _counter(value: int) -> State:
    return {"bn.num_batches_tracked": torch.tensor(value)}


def test_counters_take_the_maximum_and_stay_integer() -> None:
    merged = merge([model(4), model(9), model(7)], [1, 1, 100])
    assert merged["bn.num_batches_tracked"].dtype == torch.int64
    assert int(merged["bn.num_batches_tracked"]) == 9


def test_low_precision_is_summed_in_float32() -> None:
    states = [{"w": torch.ones(2, dtype=torch.float16)} for _ in range(3)]
    merged = merge(states, [60_000] * 3)["w"]
    assert merged.dtype == torch.float16
    assert merged.tolist() == [1.0, 1.0]


def test_nothing_that_comes_in_is_written_to_or_shared() -> None:
    states = [model(1), model(2)]
    copies = [{name: tensor.clone() for name, tensor in state.items()} for state in states]
    merged = merge(states, [1, 2])
    for tensor in merged.values():
        tensor.zero_()
    for state, copy in zip(states, copies, strict=True):
        assert all(torch.equal(state[name], copy[name]) for name in copy)


def test_models_are_read_one_by_one() -> None:
    alive = 0

    class Counted(dict[str, torch.Tensor]):
        def __init__(self, state: State):
            nonlocal alive
            alive += 1
            super().__init__(state)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def states() -> Iterator[State]:
        for seed in range(20):
            assert alive <= 1
            yield Counted(model(seed))

    merge(states(), itertools.repeat(1, 20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.weight": torch.zeros(3, 4)}, r"head.weight has the shape \(3, 4\)"),
        ({"extra": torch.zeros(1)}, "unexpected tensor extra"),
        ({"bn.num_batches_tracked": torch.tensor(1.0)}, "num_batches_tracked is torch.float32"),
    ],
)
def test_other_tensors_are_refused_by_name(change: State, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        merge([model(1), {**model(2), **change}], [1, 1])


def test_a_missing_tensor_is_named() -> None:
    short = {name: tensor for name, tensor in model(2).items() if name != "bn.bias"}
    with pytest.raises(ValueError, match=r"lacks tensor bn\.bias"):
        merge([model(1), short], [1, 1])


@pytest.mark.parametrize(
    ("count", "examples", "message"),
    [(0, [], "no client"), (2, [0, 0], "0 for every"), (1, [-1], "-1"), (2, [1], "argument")],
)
def test_senseless_examples_are_refused(count: int, examples: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        merge([model(seed) for seed in range(count)], examples)


def test_a_client_without_examples_counts_for_nothing() -> None:
    assert_states_close(merge([model(1), model(2)], [7, 0]), {**model(1), **_counter(2)})
