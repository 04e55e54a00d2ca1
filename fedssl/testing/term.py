"""Does a term keep its contract?"""

from dataclasses import replace
from typing import cast

import torch

from fedssl.model_state import federated_state
from fedssl.objectives import TERMS
from fedssl.objectives.base import outputs_of
from fedssl.objectives.term import Term
from fedssl.testing.learning import Learned, check_learning
from fedssl.testing.setting import EXAMPLES, SETTINGS, fitting
from fedssl.testing.shared import (
    check_documented,
    check_section,
    find_plugin,
    require,
    require_same,
    same,
    unchanged,
)

LATE = 0.75
"""From this share of the rounds on the term counts, where that is checked."""


def check_term(term: type[Term] | str, **fields: object) -> None:
    """Check that a term keeps its contract, as `Term` says.

    It is added to ``simclr`` on random examples.

    Parameters
    ----------
    term : type[Term] | str
        Its class, its registered name, or its dotted path.
    **fields : object
        Fields of its entry in ``objective.terms`` that shall differ from their defaults.

    Raises
    ------
    AssertionError
        It does not; the message says what, and where it can be seen.
    ValueError
        There is no such term, a field is wrong, or the kit's examples lack what it needs.

    Examples
    --------
        from fedssl.testing import check_term
        check_term("e2mc")
    """
    plugin = find_plugin(TERMS, term, fields)
    check_documented(plugin)
    sections = {"objective": {"name": "simclr", "terms": [plugin.section]}}
    setting = next(fitting(SETTINGS, **sections))
    learned = Learned(f"term {plugin.name}", setting, setting.blueprint(**sections))
    check_section(learned.blueprint.config.objective.terms[0], plugin.found.__qualname__)
    check_learning(learned)
    _check_parts(learned)
    _check_alone(learned)
    late = {"objective": {"name": "simclr", "terms": [{**plugin.section, "begin": LATE}]}}
    _check_begin(Learned(learned.where, setting, setting.blueprint(**late)))


def _check_parts(learned: Learned) -> None:
    """Check that the objective is the same with and without it, but for what it brings along."""
    plain = federated_state(learned.setting.blueprint().build())
    with_term = federated_state(learned.blueprint.build())
    require_same(
        plain,
        {name: tensor for name, tensor in with_term.items() if name in plain},
        f"{learned.where}: changes the objective that it is added to",
    )


def _check_alone(learned: Learned) -> None:
    objective, where = learned.objective(), learned.where
    term = cast(Term, objective.terms[0])
    require(
        isinstance(term.extra_views, int) and term.extra_views >= 0,
        f"{where}: extra_views is {term.extra_views}: it must be 0 or more",
    )
    own_views = objective.number_of_views
    batch = learned.batch(objective, EXAMPLES)
    with outputs_of(objective.projector) as projected:
        objective(replace(batch, views=batch.views[:own_views]))
    projections = torch.stack(torch.split(torch.cat(projected), EXAMPLES))
    part = replace(batch, views=batch.views[own_views:])
    with unchanged({"projections": projections.detach()}, where, "the projections"):
        added = term(objective.encoder, projections, part)
    require(
        added.ndim == 0 and bool(added.isfinite()),
        f"{where}: what it adds must be a finite scalar, and is {added}",
    )
    require(added.requires_grad, f"{where}: what it adds has no gradient")
    torch.autograd.backward(added)
    reached = [p for p in objective.encoder.parameters() if p.grad is not None]
    require(
        any(bool(p.grad.any()) for p in reached if p.grad is not None),
        f"{where}: no gradient of what it adds reaches the encoder, which so learns nothing by it",
    )
    in_vain = [n for n, p in term.named_parameters() if p.requires_grad and p.grad is None]
    require(not in_vain, f"{where}: no gradient reaches its {', '.join(in_vain[:3])}")


def _check_begin(late: Learned) -> None:
    plain = Learned(late.where, late.setting, late.setting.blueprint())
    losses = []
    for learned in (plain, late):
        objective = learned.objective()
        # The first views are the objective's own.
        batch = learned.batch(objective, EXAMPLES)
        losses.append(objective.loss(replace(batch, progress=0.5)).detach())
    require(same(*losses), f"{late.where}: counts before its `begin`")
