"""SSLMem: known distances, and an encoder that knows its examples by heart."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedssl.data import Dataset, Splits
from fedssl.evaluation.sslmem import SSLMem, memorised, only_in, spread
from tests.tools.evaluation import Noisy, a_subject, colors, rng

measure = SSLMem(SSLMem.Config()).measure


def test_known_distances() -> None:
    # Three views of an example: two alike, one orthogonal; norms do not count.
    views = torch.tensor([[[1.0, 0.0]], [[7.0, 0.0]], [[0.0, 2.0]]])
    root2 = 2**0.5
    assert spread(views).item() == pytest.approx(2 * root2 / 3)
    alike = torch.ones(3, 1, 2)
    assert memorised(alike, views).item() == pytest.approx(2 * root2 / 3)
    assert memorised(views, alike).item() == pytest.approx(-2 * root2 / 3)
    assert memorised(views, views).item() == 0


def test_examples_are_told_apart_by_their_bytes() -> None:
    all_examples = colors(12)
    some = all_examples.take(np.array([0, 3, 4, 11]))
    assert only_in(all_examples, some).tolist() == [1, 2, 5, 6, 7, 8, 9, 10]
    assert only_in(some, all_examples).tolist() == []


class ByHeart(nn.Module):
    """Gives one feature for all bright views, so it knows their examples; else the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, examples: Tensor) -> Tensor:
        known = (examples.mean((1, 2, 3)) > 0)[:, None]
        return torch.where(
            known, torch.ones(1, 192), examples.flatten(1) + 9 * examples.sign().flatten(1)
        )


def test_an_encoder_that_knows_its_examples_by_heart_is_found_out() -> None:
    dark = torch.randint(0, 40, (30, 3, 8, 8), generator=rng(), dtype=torch.uint8)
    bright = dark + 200
    labels = torch.zeros(30, dtype=torch.int64)
    shared = Dataset(dark[:10], labels[:10], ("any",))
    mine = Dataset(torch.cat([dark[:10], bright]), torch.zeros(40, dtype=torch.int64), ("any",))
    test = Dataset(dark[20:], labels[20:], ("any",))
    other = a_subject(Noisy(), Splits(shared, test))
    subject = a_subject(ByHeart(), Splits(mine, test), others={"runs/b": other})
    found = measure(subject)
    assert found.details["examples"] == list(range(10, 40))
    assert len(found.details["control_scores"]) == 10
    assert found.figures["sslmem"] > 0
    assert found.figures["sslmem"] > found.figures["sslmem_control"]
    assert found == measure(subject)


def test_it_says_what_it_needs() -> None:
    subject = a_subject(Noisy())
    with pytest.raises(ValueError, match="--against, not 0"):
        measure(subject)
    with pytest.raises(ValueError, match="runs/b was trained on all examples"):
        measure(a_subject(Noisy(), others={"runs/b": subject}))
