"""FedX's losses by their formulas, what stays as it is, and the predictor that travels beside."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedssl.client_rules import Update
from fedssl.client_rules.fedx import CrossDistillation, relational
from fedssl.config import ClientConfig
from fedssl.model_state import State, clone, tensor_roles
from fedssl.objectives import Objective
from fedssl.training.instructions import Instructions
from tests.tools.client_rules import Small, client_round, make_setting, projections, run_rules
from tests.tools.formulas import nt_xent_by_formula
from tests.tools.local_updates import make_worker, run_update
from tests.tools.tensors import same_state

Rows = list[list[float]]
TAU, TARGET = 0.2, 0.3
FEDX = Instructions(rules=(CrossDistillation.Config(temperature=TAU, target_temperature=TARGET),))

quick = settings(deadline=None, max_examples=25)


def rows(count: int) -> st.SearchStrategy[Rows]:
    # Hundredths: where a norm is all but zero, the cosine is a matter of rounding.
    row = st.lists(st.integers(-300, 300).map(lambda n: n / 100), min_size=3, max_size=3)
    return st.lists(row.filter(any), min_size=count, max_size=count)


def naive_relational(first: Rows, second: Rows, others: Rows, tau: float, target: float) -> float:
    def cosine(a: list[float], b: list[float]) -> float:
        norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        return sum(x * y for x, y in zip(a, b, strict=True)) / norms

    def softmax(z: list[float], temperature: float) -> list[float]:
        exponentials = [math.exp(cosine(z, a) / temperature) for a in others]
        return [e / sum(exponentials) for e in exponentials]

    total = 0.0
    for z1, z2 in zip(first, second, strict=True):
        aims = zip(softmax(z1, target), softmax(z2, target), strict=True)
        aim = [(one + two) / 2 for one, two in aims]
        for z in (z1, z2):
            for t, p in zip(aim, softmax(z, tau), strict=True):
                total += t * math.log(t / p) / 2
    return total / len(first)


@quick
@given(rows(2), rows(2), rows(4), st.floats(0.2, 2), st.floats(0.2, 2))
def test_the_relations_by_their_formula(
    first: Rows, second: Rows, others: Rows, tau: float, target: float
) -> None:
    term = relational(torch.tensor(first), torch.tensor(second), torch.tensor(others), tau, target)
    expected = naive_relational(first, second, others, tau, target)
    assert term.item() == pytest.approx(expected, rel=1e-3, abs=1e-4)


@quick
@given(rows(2), rows(4), st.floats(0.2, 2))
def test_views_that_are_alike_are_where_they_should_be(z: Rows, others: Rows, tau: float) -> None:
    one = torch.tensor(z)
    assert relational(one, one, torch.tensor(others), tau, tau).item() == pytest.approx(0, abs=1e-5)


def rule() -> CrossDistillation:
    return CrossDistillation(CrossDistillation.Config(temperature=TAU, target_temperature=TARGET))


@pytest.mark.parametrize("name", ["simclr", "byol", "simsiam", "barlow"])
def test_the_term_by_its_formula_and_what_it_leaves_as_it_is(small: Small, name: str) -> None:
    objective, _, received, batch = make_setting(small, name)
    reference, before = copy.deepcopy(objective), clone(received)
    random = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    asked: list[torch.Generator] = []
    draws = torch.Generator()

    def draw(given: torch.Generator) -> torch.Tensor:
        asked.append(given)
        return random

    made = rule()
    # What was received differs from what is trained, as it does after the first step.
    with run_rules(made, objective, received, draw, generator=draws) as rules:
        loss = objective(batch)
        term = rules.total_loss(loss, batch) - loss
    assert asked == [draws]
    state = {n: t for n, t in reference.state_dict().items() if n in received}
    if name == "simclr":
        z1, z2 = torch.split(projections(reference, state, torch.cat(batch.views)), 6)
    else:
        z1, z2 = (projections(reference, state, view) for view in batch.views)
    relations = projections(reference, state, random)
    frozen2, frozen_random = (
        projections(reference, received, part, training=False) for part in (batch.views[1], random)
    )
    assert made.network is not None
    h1, h2 = (made.network(z).detach() for z in (z1, z2))
    expected = (
        nt_xent_by_formula(h1, frozen2, TAU)
        + naive_relational(z1.tolist(), z2.tolist(), relations.tolist(), TAU, TARGET)
        + naive_relational(h1.tolist(), h2.tolist(), frozen_random.tolist(), TAU, TARGET)
    )
    assert term.item() == pytest.approx(expected, rel=1e-3, abs=1e-4)
    # The received model neither learns nor measures, and the trained one is still in training.
    assert same_state(received, before)
    assert not any(t.requires_grad for t in received.values())
    assert all(part.training for part in objective.encoder.modules())
    for view in (*([torch.cat(batch.views)] if name == "simclr" else batch.views), random):
        reference.projector(reference.encoder(view))
    trained = objective.encoder.state_dict(), objective.projector.state_dict()
    expected_states = reference.encoder.state_dict(), reference.projector.state_dict()
    for one, other in zip(trained, expected_states, strict=True):
        assert all(torch.equal(tensor, other[n]) for n, tensor in one.items())
    # Encoder, projector and predictor learn by it.
    for part in (objective.encoder, objective.projector, made.network):
        gradients = torch.autograd.grad(term, list(part.parameters()), retain_graph=True)
        assert all(g.isfinite().all() for g in gradients)
        assert any(g.any() for g in gradients)
    assert all(p.grad is None for p in reference.parameters())


def test_an_objective_of_one_view_is_refused(small: Small) -> None:
    objective: Objective
    objective, *_ = make_setting(small, "diet")
    with pytest.raises(ValueError, match=r"objective\.name = diet: fedx compares two views"):
        rule().check(ClientConfig(), objective)


STILL = ("objective={name: simclr}", "client.lr=0", "client.weight_decay=0")


def test_the_predictor_begins_alike_on_all_clients_and_goes_on_from_what_was_sent(
    small: Small,
) -> None:
    still, received = make_worker(small(*STILL))
    first = [run_update(still, received, client=c, instructions=FEDX).extra for c in (0, 1)]
    assert same_state(*first)
    later = run_update(still, received, client=2, server_round=2, instructions=FEDX).extra
    assert same_state(later, first[0])
    other = run_update(make_worker(small(*STILL, "seed=4"))[0], received, instructions=FEDX).extra
    assert not same_state(other, first[0])
    parts = tensor_roles(still.objective)
    declared = rule().declared_tensors(received, parts)
    assert {n: (t.shape, t.dtype) for n, t in first[0].items()} == {
        f"fedx/{n}": (t.shape, t.dtype) for n, t in declared.items()
    }
    assert parts.projection_width == 8
    sent = {n: t + 0.5 for n, t in first[0].items()}
    before = clone(sent)
    assert same_state(run_update(still, received, instructions=FEDX, extra=sent).extra, sent)
    learning, _ = make_worker(small("objective={name: simclr}"))
    trained = run_update(learning, received, instructions=FEDX, extra=sent).extra
    assert not any(torch.equal(trained[n], sent[n]) for n in sent)
    # What was sent is the server's, and what was answered nobody writes to any more.
    assert same_state(sent, before)
    kept = clone(trained)
    run_update(learning, received, client=1, instructions=FEDX, extra=trained)
    assert same_state(trained, kept)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "lars"])
def test_the_predictor_is_trained_by_the_clients_optimiser(small: Small, optimizer: str) -> None:
    experiment = small("objective={name: byol}", f"client.optimizer={optimizer}")
    worker, received = make_worker(experiment)
    first = run_update(worker, received, instructions=FEDX)
    again = run_update(worker, received, instructions=FEDX)
    assert same_state(first.extra, again.extra)
    assert same_state(first.state, again.state)
    start = run_update(make_worker(small(*STILL))[0], received_of(small), instructions=FEDX).extra
    assert not any(torch.equal(first.extra[n], start[n]) for n in start)
    plain = run_update(worker, received)
    assert not same_state(plain.state, first.state)
    assert first.stats.steps == plain.stats.steps
    # It draws from a source of its own: the batches and views are those without it.
    one_step, _ = make_worker(small("objective={name: byol}", "client.local_steps=1"))
    losses = {
        run_update(one_step, received, instructions=i).stats.loss for i in (FEDX, Instructions())
    }
    assert len(losses) == 1


def received_of(small: Small) -> State:
    return make_worker(small(*STILL))[1]


def test_nothing_is_remembered() -> None:
    assert rule().remember(Update(client_round(), {}, {}, 1)) == {}
