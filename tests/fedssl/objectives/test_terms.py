"""Terms: how they are added to an objective's loss, whatever the objective."""

from dataclasses import replace
from typing import Annotated

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from fedssl.base.seeding import seeded_initialisation
from fedssl.modalities.image import IMAGE
from fedssl.model_state import federated_state, private_tensors
from fedssl.objectives import OBJECTIVES, TERMS, Objective, ObjectiveConfig, build
from tests.tools.objectives import encoder_for, make_batch

Section = TypeAdapter(Annotated[ObjectiveConfig, OBJECTIVES.choice])


def built(name: str, *terms: dict[str, object]) -> Objective:
    config: ObjectiveConfig = Section.validate_python({"name": name, "terms": list(terms)})
    with seeded_initialisation(0):
        objective = build(config, encoder_for(OBJECTIVES[name]), (16, 8), IMAGE)
    objective.resize(32)
    objective.start(torch.Generator())
    return objective


def gradients(objective: Objective) -> list[torch.Tensor]:
    return [p.grad.clone() for p in objective.encoder.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("term", TERMS)
def test_a_term_adds_to_the_loss_of_any_objective(name: str, term: str) -> None:
    if (name, term) == ("mae", "e2mc"):
        with pytest.raises(ValueError, match="mae makes none"):
            built(name, {"name": term})
        return
    plain, with_term = built(name), built(name, {"name": term})
    batch = make_batch(32, views=with_term.views_in_all)
    own = plain.loss(replace(make_batch(32, views=plain.views_in_all)))
    own.backward()  # type: ignore[no-untyped-call]
    whole = with_term.loss(batch)
    whole.backward()  # type: ignore[no-untyped-call]
    assert whole.isfinite()
    assert abs(whole.item() - own.item()) > 1e-3
    assert any(
        not torch.equal(a, b) for a, b in zip(gradients(plain), gradients(with_term), strict=True)
    )


def test_the_loss_is_the_sum_of_all_and_each_gets_its_own_views() -> None:
    terms: list[dict[str, object]] = [
        {"name": "e-ssl", "weight": 0.3},
        {"name": "e2mc", "entropy": 2.0, "covariance": 3.0},
        {"name": "e-ssl", "weight": 0.7},
    ]
    objective, batch = built("byol", *terms), make_batch(views=4)
    assert objective.views_in_all == 4
    shown = [replace(batch, views=batch.views[a:b]) for a, b in [(0, 2), (2, 3), (2, 2), (3, 4)]]
    views = batch.views[:2]
    projections = torch.stack([objective.projector(objective.encoder(v)) for v in views])
    expected = objective(shown[0])
    for term, part in zip(objective.terms, shown[1:], strict=True):
        expected = expected + term(objective.encoder, projections, part)
    torch.testing.assert_close(objective.loss(batch), expected)


@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_projections_are_split_into_views_however_they_were_made(name: str) -> None:
    objective = built(name, {"name": "e2mc"})
    seen = []
    objective.terms[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    batch = make_batch()
    objective.loss(batch)
    if name == "simclr":
        z = objective.projector(objective.encoder(torch.cat(batch.views))).chunk(2)
    else:
        z = tuple(objective.projector(objective.encoder(view)) for view in batch.views)
    torch.testing.assert_close(seen[0], torch.stack(z))


def test_a_term_counts_from_its_beginning_on() -> None:
    objective = built("simclr", {"name": "e-ssl", "begin": 0.5})
    batch = make_batch(views=3)
    before, after = (objective.loss(replace(batch, progress=p)).item() for p in (0.49, 0.5))
    assert before == objective(replace(batch, views=batch.views[:2])).item()
    assert after > before


def test_terms_are_federated_and_change_nothing_else() -> None:
    plain, with_term = built("byol"), built("byol", {"name": "e-ssl"})
    assert private_tensors(with_term).keys() == private_tensors(plain).keys()
    before, after = federated_state(plain), federated_state(with_term)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {n.split(".")[0] for n in after.keys() - before.keys()} == {"terms"}


@pytest.mark.parametrize(
    "term",
    [{}, {"name": "e2mb"}, {"name": "e2mc", "begin": 1.0}, {"name": "e-ssl", "weight": -1.0}],
)
def test_the_config_refuses_what_makes_no_sense(term: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Section.validate_python({"name": "simclr", "terms": [term]})
