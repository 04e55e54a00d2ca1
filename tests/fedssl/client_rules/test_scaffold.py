"""SCAFFOLD's correction and control variates by the formulas written out."""

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedssl.client_rules import Update
from fedssl.client_rules.scaffold import ControlVariates, step_weights
from fedssl.model_state import State, clone, parameter_names, tensor_roles
from fedssl.training.client_memory import ClientMemory
from fedssl.training.instructions import Instructions
from fedssl.training.local_update import LocalTrainer, LocalUpdate
from tests.tools.client_rules import (
    PULLED,
    Small,
    assert_close,
    client_round,
    make_setting,
    run_rules,
)
from tests.tools.local_updates import make_worker, random_examples, run_update
from tests.tools.tensors import same_state

SCAFFOLD = Instructions(rules=(ControlVariates.Config(),))
STEPS, LR = 3, 0.1


def of_extra(controls: Mapping[str, Tensor]) -> State:
    return {f"scaffold/{name}": control for name, control in controls.items()}


def pulled(
    worker: LocalTrainer,
    received: State,
    controls: State,
    *,
    client: int,
    server_round: int,
    private: State,
) -> LocalUpdate:
    """A client whose gradients are each weight less its number."""
    return worker.run(
        random_examples(20),
        torch.full((20,), client),
        received,
        private,
        client=client,
        server_round=server_round,
        instructions=SCAFFOLD,
        extra=of_extra(controls),
    )


def naive(
    x: Tensor, label: int, c: Tensor, own: Tensor, momentum: float, nesterov: bool
) -> tuple[Tensor, Tensor]:
    """The weight after three steps, and c[k]⁺."""
    y, speed = x.double(), torch.zeros_like(x, dtype=torch.float64)
    unit, length = 0.0, 0.0
    raw = []
    for _ in range(STEPS):
        raw.append(y - label)
        gradient = raw[-1] + c.double() - own.double()
        speed = momentum * speed + gradient
        y = y - LR * (gradient + momentum * speed if nesterov else speed)
        # How far a gradient of 1 would have gone.
        unit = momentum * unit + 1
        length += 1 + momentum * unit if nesterov else unit
    control = own.double() - c.double() + (x.double() - y) / (LR * length)
    if not momentum:
        # It is the mean gradient, without the correction.
        torch.testing.assert_close(control, torch.stack(raw).mean(0))
    return y, control


@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.5, False), (0.9, True)]
)
def test_two_clients_of_three_steps_by_the_formula(
    small: Small, momentum: float, nesterov: bool
) -> None:
    worker, x = make_worker(
        small(*PULLED, f"client.momentum={momentum}", f"client.nesterov={str(nesterov).lower()}")
    )
    names = parameter_names(x, tensor_roles(worker.objective).buffers)
    assert len(names) > 3
    c = {name: torch.zeros_like(x[name]) for name in names}
    own = {client: clone(c) for client in (1, 3)}
    private: dict[int, State] = {1: {}, 3: {}}
    for server_round in (1, 2, 3):
        changes, models = [], []
        for client, controls in own.items():
            update = pulled(
                worker, x, c, client=client, server_round=server_round, private=private[client]
            )
            private[client] = update.private_state
            assert list(update.extra) == [f"scaffold/{name}" for name in names]
            memory = ClientMemory.from_private_state(update.private_state)
            assert memory is not None
            for name in names:
                y, control = naive(x[name], client, c[name], controls[name], momentum, nesterov)
                assert_close(update.state[name], y)
                sent = update.extra[f"scaffold/{name}"]
                assert_close(sent, control - controls[name].double(), 2e-4)
                assert_close(memory.rules["scaffold"][name], control, 2e-4)
            own[client] = dict(memory.rules["scaffold"])
            changes.append(update.extra)
            models.append(update.state)
        c = {n: c[n] + sum(each[f"scaffold/{n}"] for each in changes) / 2 for n in names}
        x = {n: (models[0][n] + models[1][n]) / 2 if n in names else t for n, t in x.items()}
        # The clients' gradients differ, so that there is something to correct.
        assert not torch.allclose(own[1][names[0]], own[3][names[0]], atol=0.1)


@given(st.integers(1, 30), st.floats(0, 0.99), st.booleans())
def test_the_steps_weights_are_how_far_a_gradient_of_one_goes(
    steps: int, momentum: float, nesterov: bool
) -> None:
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    nesterov = nesterov and momentum > 0
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=momentum, nesterov=nesterov)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert step_weights(steps, momentum, nesterov) == pytest.approx(-weight.item())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_client_alone_takes_plain_steps_of_sgd(small: Small, momentum: float) -> None:
    worker, received = make_worker(small(f"client.momentum={momentum}", "objective={name: simclr}"))
    names = parameter_names(received, tensor_roles(worker.objective).buffers)
    c = {name: torch.zeros_like(received[name]) for name in names}
    private: State = {}
    for server_round in (1, 2, 3):
        plain = run_update(worker, received, server_round=server_round)
        update = run_update(
            worker,
            received,
            private=private,
            server_round=server_round,
            instructions=SCAFFOLD,
            extra=of_extra(c),
        )
        assert same_state(plain.state, update.state)
        assert plain.stats == update.stats
        received, private = update.state, update.private_state
        c = {name: c[name] + update.extra[f"scaffold/{name}"] for name in names}
        assert c[names[0]].any()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lars"])
def test_optimisers_that_tell_no_mean_gradient_are_refused(small: Small, optimizer: str) -> None:
    worker, received = make_worker(small(f"client.optimizer={optimizer}"))
    with pytest.raises(ValueError, match=rf"client\.optimizer = {optimizer}: .* use sgd"):
        run_update(worker, received, instructions=SCAFFOLD)


def test_momentum_of_earlier_rounds_is_refused(small: Small) -> None:
    kept = "client.optimizer_state=kept"
    worker, received = make_worker(small(kept, "client.momentum=0.9"))
    with pytest.raises(ValueError, match=r"client\.optimizer_state = kept: .* use fresh"):
        run_update(worker, received, instructions=SCAFFOLD)
    worker, received = make_worker(small(kept, "client.momentum=0"))
    names = parameter_names(received, tensor_roles(worker.objective).buffers)
    c = {name: torch.zeros_like(received[name]) for name in names}
    assert run_update(worker, received, instructions=SCAFFOLD, extra=of_extra(c)).extra.keys()


def test_a_strategy_that_sends_no_mean_gradient_is_told(small: Small) -> None:
    worker, received = make_worker(small())
    with pytest.raises(ValueError, match=r"sends no mean gradient of encoder\S+ for scaffold"):
        run_update(worker, received, instructions=SCAFFOLD)


def test_what_is_not_trained_has_no_control(small: Small) -> None:
    objective, start, other, batch = make_setting(small, "simclr")
    objective.encoder.requires_grad_(False)
    rule = ControlVariates(ControlVariates.Config())
    parts = tensor_roles(objective)
    c = {n: torch.ones_like(t) for n, t in rule.declared_tensors(start, parts).items()}
    assert list(c) == parameter_names(start, parts.buffers)
    with run_rules(rule, objective, start, extra=c) as rules:
        loss = objective(batch)
        added = (rules.total_loss(loss, batch) - loss).item()
    heads = frozenset(n for n in c if n.startswith("projector."))
    assert added == pytest.approx(sum(float(start[n].sum()) for n in heads), abs=1e-4)
    seen = client_round(start, extra=c, trainable_names=heads, lr=0.1)
    changes = rule.tensors(Update(seen, start, other, 3))
    for name, change in changes.items():
        expected = (start[name] - other[name]) / 0.3 - 1 if name in heads else 0 * start[name]
        torch.testing.assert_close(change, expected)
    assert rule.remember(Update(seen, start, other, 3)).keys() == c.keys()
