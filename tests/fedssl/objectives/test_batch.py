"""Views of different sizes."""

import pytest
import torch
from torch import Tensor, nn

from fedssl.objectives import OBJECTIVES
from fedssl.objectives.batch import encode_views
from tests.tools.objectives import TinyEncoder, make_batch, make_objective, normal

ANY_NUMBER = ["cacr", "mv-infonce", "mv-dhel", "dino", "w-mse"]


class Sizes(nn.Module):
    """Notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, examples: Tensor) -> Tensor:
        self.seen.append(tuple(examples.shape))
        return examples.mean((2, 3))


def test_views_of_one_size_are_one_batch() -> None:
    encoder, views = Sizes(), [normal(4, 3, 8, 8, seed=n) for n in range(3)]
    assert torch.equal(
        encode_views(encoder, views), torch.cat([view.mean((2, 3)) for view in views])
    )
    assert encoder.seen == [(12, 3, 8, 8)]


def test_views_of_other_sizes_are_batches_of_their_own_and_stay_in_order() -> None:
    encoder = Sizes()
    views = [normal(4, 3, side, side, seed=side) for side in (8, 8, 4, 6, 8)]
    assert torch.equal(
        encode_views(encoder, views), torch.cat([view.mean((2, 3)) for view in views])
    )
    assert [shape[0] for shape in encoder.seen] == [8, 4, 4, 4]


@pytest.mark.parametrize("name", ANY_NUMBER)
def test_objectives_of_many_views_take_smaller_ones(name: str) -> None:
    objective = make_objective(OBJECTIVES[name], views=4)
    batch = make_batch(views=4)
    batch.views[2:] = [view[:, :, ::2, ::2] for view in batch.views[2:]]
    loss = objective(batch)
    loss.backward()
    assert loss.isfinite()
    encoder = objective.encoder
    assert isinstance(encoder, TinyEncoder)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
