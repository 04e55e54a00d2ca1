import pytest
import torch

from tests.tools.strategy_rounds import Client, make_strategy, model, play_round
from tests.tools.tensors import assert_states_close

STRATEGY = make_strategy("loss-weighted")


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_losses_of_any_size_are_weighed_and_the_least_wins(scale: float) -> None:
    answers = [Client(model(k), loss=scale + 200.0 * abs(k - 2)) for k in range(5)]
    assert_states_close(
        play_round(STRATEGY, model(77), answers),
        {**model(2), "encoder.bn.num_batches_tracked": torch.tensor(4)},
    )


def test_what_counts_is_how_far_a_loss_is_below_chance() -> None:
    answers = [Client(model(1), loss=2.0, chance=3.0), Client(model(2), loss=5.0, chance=6.0)]
    half = play_round(make_strategy("fedavg", weighting="uniform"), model(77), answers)
    assert_states_close(play_round(STRATEGY, model(77), answers), half)


@pytest.mark.parametrize(("loss", "chance"), [(float("inf"), 0.0), (1.0, float("nan"))])
def test_a_loss_that_is_not_finite_is_refused(loss: float, chance: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        play_round(STRATEGY, model(77), [Client(model(1), loss=loss, chance=chance)])
