"""FedProx's term."""

import torch

from fedssl.client_rules.proximal import Proximal, squared_distance
from tests.tools.client_rules import Small, client_round, make_setting, remembered, run_rules


def test_half_the_squared_distance_and_its_gradient() -> None:
    weights = {
        "a": torch.tensor([1.0, 2.0], requires_grad=True),
        "b": torch.ones((), requires_grad=True),
    }
    term = squared_distance(weights, {"a": torch.tensor([0.0, 4.0]), "b": torch.tensor(3.0)})
    assert term.item() == (1 + 4 + 4) / 2
    torch.autograd.backward(term)
    assert weights["a"].grad is not None
    assert weights["a"].grad.tolist() == [1.0, -2.0]


def test_it_covers_the_federated_parameters(small: Small) -> None:
    objective, start, _, batch = make_setting(small, "byol")
    shifted = {n: t + 1 if t.is_floating_point() else t for n, t in start.items()}
    trained = [p for p in objective.parameters() if p.requires_grad]
    with run_rules(Proximal(Proximal.Config(mu=0.5)), objective, shifted) as rules:
        loss = objective(batch)
        added = rules.total_loss(loss, batch) - loss
    expected = 0.5 / 2 * sum(p.numel() for p in trained)
    torch.testing.assert_close(added.item(), expected, rtol=1e-4, atol=0.0)


def test_without_weight_it_adds_nothing(small: Small) -> None:
    objective, start, _, batch = make_setting(small, "simclr")
    with run_rules(Proximal(Proximal.Config(mu=0.0)), objective, start) as rules:
        loss = objective(batch)
        assert rules.total_loss(loss, batch) is loss


def test_nothing_is_remembered() -> None:
    assert remembered(Proximal(Proximal.Config()), client_round()) == {}
