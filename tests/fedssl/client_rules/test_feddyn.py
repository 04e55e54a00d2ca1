"""FedDyn's term and memory by the formulas written out."""

import pytest
import torch

from fedssl.client_rules.feddyn import DynamicRegulariser
from fedssl.model_state import State
from fedssl.training.client_memory import ClientMemory
from fedssl.training.instructions import Instructions
from tests.tools.client_rules import PULLED, Small, assert_close, make_setting, run_rules
from tests.tools.local_updates import make_worker, random_examples

ALPHA = 0.5


@pytest.mark.parametrize("first", [True, False])
def test_the_term_and_its_gradient(small: Small, first: bool) -> None:
    objective, _, other, batch = make_setting(small, "byol")
    weights = {n: p for n, p in objective.named_parameters() if p.requires_grad}
    draws = torch.Generator().manual_seed(3)
    linear = {n: torch.randn(w.shape, generator=draws) for n, w in weights.items()}
    rule = DynamicRegulariser(DynamicRegulariser.Config(alpha=ALPHA))
    # Another start than the weights, or the squares would be zero.
    with run_rules(rule, objective, other, memory={} if first else linear) as rules:
        loss = objective(batch)
        term = rules.total_loss(loss, batch) - loss
    expected, pulls = 0.0, {}
    for name, weight in weights.items():
        held = linear[name].double() * (0 if first else 1)
        moved = weight.detach().double() - other[name].double()
        expected += ALPHA / 2 * float(moved.square().sum())
        expected -= float((held * weight.detach().double()).sum())
        pulls[name] = ALPHA * moved - held
    assert term.item() == pytest.approx(expected, rel=1e-3, abs=1e-3)
    gradients = torch.autograd.grad(term, list(weights.values()))
    for pull, gradient in zip(pulls.values(), gradients, strict=True):
        assert_close(gradient, pull)


def test_the_memory_over_three_visits(small: Small) -> None:
    worker, received = make_worker(small(*PULLED, "client.momentum=0"))
    names = sorted(worker._trainable_names)
    rule = Instructions(rules=(DynamicRegulariser.Config(alpha=ALPHA),))
    linear = {n: torch.zeros_like(received[n], dtype=torch.float64) for n in names}
    private: State = {}
    for round in (1, 2, 3):
        update = worker.run(
            random_examples(20),
            torch.full((20,), 2),
            received,
            private,
            client=0,
            server_round=round,
            instructions=rule,
        )
        memory = ClientMemory.from_private_state(update.private_state)
        assert memory is not None
        assert sorted(memory.rules["feddyn"]) == names
        for name in names:
            start = received[name].double()
            w = start
            for _ in range(3):
                w = w - 0.1 * ((w - 2) - linear[name] + ALPHA * (w - start))
            assert_close(update.state[name], w, 1e-5)
            linear[name] = linear[name] - ALPHA * (w - start)
            assert_close(memory.rules["feddyn"][name], linear[name], 1e-5)
        assert not update.extra
        assert not update.metrics
        private = update.private_state
        # Another model than its own comes next.
        received = {n: t + 0.25 if t.is_floating_point() else t for n, t in update.state.items()}
