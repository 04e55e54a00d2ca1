"""DIET: its loss, and the head that is the client's own and as large as the client."""

import math
from collections.abc import Callable

import pytest
import torch

from fedssl.config import LearningConfig
from fedssl.model_state import federated_state, private_tensors
from fedssl.objectives.diet import DIET, diet
from tests.tools.local_updates import make_worker, run_update
from tests.tools.objectives import gradients_are_finite, make_batch, make_objective, normal
from tests.tools.tensors import same_state


@pytest.mark.parametrize("smoothing", [0.0, 0.8])
def test_it_is_the_formula(smoothing: float) -> None:
    features, head, index = normal(4, 3), normal(6, 3, seed=1), torch.tensor([5, 0, 3, 3])
    total = 0.0
    for f, i in zip(features, index.tolist(), strict=True):
        logits = [(f @ row).item() for row in head]
        norm = math.log(sum(math.exp(x) for x in logits))
        for k, x in enumerate(logits):
            target = smoothing / 6 + (1 - smoothing if k == i else 0)
            total -= target * (x - norm)
    assert diet(features, head, index, smoothing).item() == pytest.approx(total / 4, rel=1e-5)


def test_gradients() -> None:
    inputs = [normal(n, 3, seed=n, dtype=torch.float64).requires_grad_() for n in (4, 6)]
    index = torch.tensor([5, 0, 3, 3])
    assert torch.autograd.gradcheck(lambda f, w: diet(f, w, index, 0.8), inputs)


@pytest.mark.parametrize("scale", [0.0, 1e12, 1e-15])
def test_extreme_features_stay_finite(scale: float) -> None:
    features, head = (scale * normal(6, 5)).requires_grad_(), normal(6, 5, seed=1).requires_grad_()
    loss = diet(features, head, torch.arange(6), 0.8)
    assert gradients_are_finite(loss, [features, head])


def test_the_head_has_a_row_for_each_example_and_is_private() -> None:
    objective, batch = make_objective(DIET, label_smoothing=0.5), make_batch(16, views=1)
    objective.resize(20)
    objective.start(torch.Generator())
    head = objective.head
    assert head.shape == (20, 12)
    assert head.abs().max() <= 12**-0.5
    assert head.std().item() == pytest.approx((12 * 3) ** -0.5, rel=0.2)
    expected = diet(objective.encoder(batch.views[0]), head, batch.index, 0.5)
    torch.testing.assert_close(objective(batch), expected)
    assert private_tensors(objective).keys() == {"head"}
    assert {n.split(".")[0] for n in federated_state(objective)} == {"encoder"}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("state", ["fresh", "kept"])
def test_clients_of_different_sizes_take_turns_on_one_worker(
    small: Callable[..., LearningConfig], optimizer: str, state: str
) -> None:
    experiment = small(
        "objective={name: diet}",
        "client.lr=0.001",
        f"client.optimizer={optimizer}",
        f"client.optimizer_state={state}",
    )
    worker, received = make_worker(experiment)
    alone = run_update(worker, received, count=20, client=1)
    other = run_update(worker, received, count=9, client=2)
    assert alone.private_state["head"].shape == (20, 128)
    assert other.private_state["head"].shape == (9, 128)
    again = run_update(worker, received, count=20, client=1)
    assert same_state(alone.state, again.state)
    assert same_state(alone.private_state, again.private_state)
    # The head goes on from where it was, and it is never another client's.
    later = run_update(
        worker, received, count=20, client=1, private=alone.private_state, server_round=2
    )
    new = run_update(worker, received, count=20, client=1, server_round=2)
    assert not torch.equal(later.private_state["head"], new.private_state["head"])
    assert (later.private_state["head"] - alone.private_state["head"]).abs().max() < 0.05
    with pytest.raises(ValueError, match=r"head is \(20, 128\) in one and \(19, 128\)"):
        run_update(
            worker, received, count=19, client=1, private=alone.private_state, server_round=3
        )
