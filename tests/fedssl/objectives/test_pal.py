"""PAL: the loss along a graph, what answers imply, and which questions are asked."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedssl.config import LearningConfig
from fedssl.model_state import federated_state, private_tensors
from fedssl.objectives.pal import PAL, Relations, graph_contrast
from fedssl.objectives.simclr import nt_xent
from tests.tools.local_updates import make_worker, random_examples
from tests.tools.objectives import EXTREME, gradients_are_finite, make_batch, make_objective, normal

GROUPS = torch.tensor([0, 1, 0, 2, 2, 2])
AKIN = GROUPS[:, None] == GROUPS[None, :]


def by_the_formula(first: Tensor, second: Tensor, akin: Tensor, temperature: float) -> float:
    views, count = torch.cat([first, second]), len(first)
    total = relations = 0.0
    for i, view in enumerate(views):
        terms = {
            k: math.exp(F.cosine_similarity(view, other, dim=0).item() / temperature)
            for k, other in enumerate(views)
            if k != i
        }
        for k, term in terms.items():
            if akin[i % count, k % count]:
                total -= math.log(term / sum(terms.values()))
                relations += 1
    return total / relations


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_it_is_the_formula(temperature: float) -> None:
    first, second = normal(6, 4), normal(6, 4, seed=1)
    expected = by_the_formula(first, second, AKIN, temperature)
    assert graph_contrast(first, second, AKIN, temperature).item() == pytest.approx(expected)


def test_with_no_two_examples_akin_it_is_simclrs() -> None:
    first, second = normal(6, 4), normal(6, 4, seed=1)
    alone = torch.eye(6, dtype=torch.bool)
    expected = nt_xent(first, second, 0.3)
    torch.testing.assert_close(graph_contrast(first, second, alone, 0.3), expected)


def test_gradients() -> None:
    inputs = [normal(6, 3, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1)]
    assert torch.autograd.gradcheck(lambda a, b: graph_contrast(a, b, AKIN, 0.3), inputs)


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_projections_stay_finite(name: str) -> None:
    first, second = (z.clone().requires_grad_() for z in EXTREME[name])
    assert gradients_are_finite(graph_contrast(first, second, AKIN, 0.05), [first, second])


def relations_of(random_examples: int, budget: int) -> Relations:
    relations = Relations(budget)
    relations.resize(random_examples)
    relations.forget()
    return relations


@given(st.lists(st.integers(0, 2), min_size=2, max_size=5), st.randoms())
@settings(deadline=None, max_examples=40)
def test_answers_imply_what_follows_from_them_and_nothing_else(labels: list[int], random) -> None:  # type: ignore[no-untyped-def]
    relations = relations_of(len(labels), 20)
    questions = random.sample(list(combinations(range(len(labels)), 2)), k=len(labels) // 2)
    for i, j in questions:
        one, other = torch.tensor(i), torch.tensor(j)
        relations.learn(one, other, torch.tensor(labels[i] == labels[j]))
    # All labellings in which the answers would be the same: what holds in each is implied.
    worlds = [
        world
        for world in torch.cartesian_prod(*[torch.arange(len(labels))] * len(labels)).tolist()
        if all((world[i] == world[j]) == (labels[i] == labels[j]) for i, j in questions)
    ]
    akin, apart = relations.among(torch.arange(len(labels)))
    for i, j in combinations(range(len(labels)), 2):
        assert bool(akin[i, j]) == all(world[i] == world[j] for world in worlds)
        assert bool(apart[i, j]) == all(world[i] != world[j] for world in worlds)
    assert torch.equal(akin, akin.T)
    assert torch.equal(apart, apart.T)
    assert int(relations.asked) == len(questions)


def asked_pairs(objective: PAL, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, bool]]:
    asked: list[tuple[int, int, bool]] = []
    learn = objective.relations.learn

    def record(one: Tensor, other: Tensor, akin: Tensor) -> None:
        asked.append((int(one), int(other), bool(akin)))
        learn(one, other, akin)

    monkeypatch.setattr(objective.relations, "learn", record)
    return asked


@pytest.mark.parametrize("query", ["active", "random"])
def test_it_asks_of_pairs_that_are_not_known_until_the_budget_is_spent(
    query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = make_objective(PAL, budget=7, questions=3, query=query)
    asked = asked_pairs(objective, monkeypatch)
    batch = replace(make_batch(16), index=torch.arange(5, 21))
    for expected in (3, 6, 7, 7):
        objective(batch)
        assert len(asked) == expected
    labels = {5 + n: n % 3 for n in range(16)}
    assert all((labels[i] == labels[j]) is akin for i, j, akin in asked)
    assert len({frozenset(pair[:2]) for pair in asked}) == 7
    objective.start(torch.Generator())
    objective(batch)
    assert len(asked) == 10


def test_actively_it_asks_of_the_pair_that_is_most_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = make_objective(PAL, questions=2), make_batch(8)
    asked = asked_pairs(objective, monkeypatch)
    z1, z2 = objective.projector(objective.encoder(torch.cat(batch.views))).chunk(2)

    def alike(pair: tuple[int, int]) -> float:
        i, j = pair
        both = F.cosine_similarity(z1[i], z2[j], dim=0) + F.cosine_similarity(z1[j], z2[i], dim=0)
        return both.item()

    objective(batch)
    ranked = sorted(combinations(range(8), 2), key=alike, reverse=True)
    assert asked[0][:2] == ranked[0]
    assert asked[1][:2] in ranked[1:3]


def test_at_random_the_batchs_draws_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for seed in (0, 0, 1):
        objective = make_objective(PAL, questions=3, query="random")
        asked = asked_pairs(objective, monkeypatch)
        objective(replace(make_batch(16), generator=torch.Generator().manual_seed(seed)))
        found.append(asked)
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_nothing_is_asked_about_examples_without_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = make_objective(PAL, questions=50), make_batch(8)
    asked = asked_pairs(objective, monkeypatch)
    labels = torch.tensor([0, -1, 1, -1, 0, -1, -1, 1])
    objective(replace(batch, labels=labels))
    assert asked
    assert {n for i, j, _ in asked for n in (i, j)} <= {0, 2, 4, 7}
    with pytest.raises(ValueError, match="none of the training examples has a label"):
        objective.check(torch.tensor([-1, -1]))
    objective.check(labels)


def test_the_answers_change_the_loss_of_the_same_step() -> None:
    knowing, batch = make_objective(PAL, questions=200, budget=200), make_batch(16)
    first, second = knowing.projector(knowing.encoder(torch.cat(batch.views))).chunk(2)
    akin = (torch.arange(16) % 3)[:, None] == (torch.arange(16) % 3)[None, :]
    torch.testing.assert_close(knowing(batch), graph_contrast(first, second, akin, 0.5))
    no_budget = make_objective(PAL, budget=0)
    torch.testing.assert_close(no_budget(batch), nt_xent(first, second, 0.5))


def test_what_was_said_is_private() -> None:
    objective = make_objective(PAL)
    assert {n.split(".")[0] for n in private_tensors(objective)} == {"relations"}
    assert {n.split(".")[0] for n in federated_state(objective)} == {"encoder", "projector"}


def test_a_clients_relations_survive_and_are_never_anothers(
    small: Callable[..., LearningConfig],
) -> None:
    worker, received = make_worker(small("objective={name: pal, budget: 4, questions: 1}"))

    def run(client: int, count: int, private: dict[str, Tensor], round: int) -> dict[str, Tensor]:
        labels = torch.arange(count) % 2
        shown = random_examples(count, client)
        update = worker.run(shown, labels, received, private, client=client, server_round=round)
        return update.private_state

    first = run(1, 16, {}, 1)
    other = run(2, 9, {}, 1)
    assert int(first["relations.asked"]) == 2
    assert first["relations.group"].shape == (16,)
    assert other["relations.group"].shape == (9,)
    later = run(1, 16, first, 12)
    assert int(later["relations.asked"]) == 4
    assert torch.equal(later["relations.different"][:2], first["relations.different"][:2])
    assert int(run(1, 16, later, 13)["relations.asked"]) == 4
