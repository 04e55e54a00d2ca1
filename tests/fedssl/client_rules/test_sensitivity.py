"""Elastic's measure by its formula."""

import copy

import pytest
import torch
from torch import Tensor

from fedssl.client_rules import ClientRound, Update
from fedssl.client_rules.base import ReportedMetric
from fedssl.client_rules.sensitivity import MAX_OMEGA, Sensitivity
from fedssl.model_state import State, tensor_roles
from fedssl.objectives import Objective
from tests.tools.client_rules import Small, client_round, make_setting, run_rules


def naive_sensitivity(objective: Objective, examples: list[Tensor]) -> dict[str, float]:
    model = copy.deepcopy(objective)
    squares, views = torch.zeros(()), 0
    for part in examples:
        projection = model.projector(model.encoder(part))
        squares = squares + sum(z @ z for z in projection)
        views += len(part)
    torch.autograd.backward(squares / views)
    return {
        n: 0.0 if p.grad is None else float(p.grad.double().norm())
        for n, p in model.named_parameters()
        if not n.startswith("target.")
    }


def reported(rule: Sensitivity, seen: ClientRound, start: State) -> list[float]:
    metrics = rule.metrics(Update(seen, start, start, 3))
    assert metrics.keys() == {"omega"}
    omega = metrics["omega"]
    assert isinstance(omega, list)
    return omega


@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_it_is_a_moving_average_of_the_gradients_norm(small: Small, name: str) -> None:
    objective, start, _, batch = make_setting(small, name)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.5)
    expected: dict[str, float] = {}
    rule = Sensitivity(Sensitivity.Config(decay=0.8))
    with run_rules(rule, objective, start) as rules:
        for _ in range(3):
            parts = [torch.cat(batch.views)] if name == "simclr" else batch.views
            now = naive_sensitivity(objective, parts)
            expected = {n: 0.8 * expected.get(n, v) + 0.2 * v for n, v in now.items()}
            plain = objective(batch)
            loss = rules.total_loss(plain, batch)
            assert loss is plain
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            rules.after_step()
    parameters = [n for n in start if n in dict(objective.named_parameters())]
    seen = client_round(start, roles=tensor_roles(objective))
    omega = dict(zip(parameters, reported(rule, seen, start), strict=True))
    assert omega == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert all(v == 0 for n, v in expected.items() if n.startswith("predictor."))
    assert expected["encoder.layers.0.weight"] > 0
    declared = rule.declared_metrics(start, tensor_roles(objective))
    assert declared == {"omega": ReportedMetric(0.0, MAX_OMEGA, len(parameters))}
    # Of what was sent alone.
    sent = frozenset(n for n in start if n.startswith("projector."))
    heads = reported(
        rule, client_round(start, roles=tensor_roles(objective), received_names=sent), start
    )
    assert heads == [omega[n] for n in parameters if n in sent]


def test_what_is_not_trained_has_none(small: Small) -> None:
    objective, start, _, batch = make_setting(small, "simclr")
    objective.encoder.requires_grad_(False)
    rule = Sensitivity(Sensitivity.Config())
    with run_rules(rule, objective, start) as rules:
        rules.total_loss(objective(batch), batch)
    parameters = [n for n in start if n in dict(objective.named_parameters())]
    seen = client_round(start, roles=tensor_roles(objective))
    for name, omega in zip(parameters, reported(rule, seen, start), strict=True):
        assert (omega > 0) is name.startswith("projector.")
