"""Rules at work in an update: what they see, and what may leave."""

import copy

import pytest
import torch
from torch import Tensor

from fedssl.client_rules import ClientRule, ClientRuleConfig, LocalStep, Update
from fedssl.client_rules.moon import ModelContrast
from fedssl.client_rules.rule_runner import (
    RuleRunner,
    collect_outputs,
    memory_after,
    select_rule_tensors,
)
from fedssl.client_rules.sensitivity import Sensitivity
from fedssl.model_state import federated_state, tensor_roles
from fedssl.objectives import Batch, Objective, ObjectiveConfig
from tests.tools import custom_rules
from tests.tools.blueprints import blueprint
from tests.tools.client_rules import Small, client_round, constant_state, make_setting, run_rules


class Headless(Objective):
    """Never projects its encoder's features."""

    def forward(self, batch: Batch) -> Tensor:
        features: Tensor = self.encoder(batch.views[0])
        return features.square().mean()


def test_an_objective_that_projects_something_else_is_refused(small: Small) -> None:
    other = blueprint(small(), 16).build()
    objective = Headless(other.encoder, (), ObjectiveConfig(name="none"))
    objective.encoder, objective.projector = other.encoder, other.projector
    start = federated_state(objective)
    batch = Batch([torch.randn(4, 3, 16, 16)], torch.arange(4))
    with (
        run_rules(Sensitivity(Sensitivity.Config(decay=0.5)), objective, start) as rules,
        pytest.raises(ValueError, match="Headless does not project"),
    ):
        rules.total_loss(objective(batch), batch)


def test_hooks_are_gone_afterwards(small: Small) -> None:
    objective, start, other, batch = make_setting(small, "simclr")
    with run_rules(ModelContrast(ModelContrast.Config()), objective, start, memory=other) as rules:
        rules.total_loss(objective(batch), batch)
    assert not objective.encoder._forward_hooks
    assert not objective.projector._forward_hooks


def test_who_reads_projections_must_say_so(small: Small) -> None:
    objective, start, _, batch = make_setting(small, "simclr")
    rule = custom_rules.Peeking(ClientRuleConfig(name="peeking"))
    with (
        run_rules(rule, objective, start) as rules,
        pytest.raises(ValueError, match="`needs_projections = True`"),
    ):
        rules.total_loss(objective(batch), batch)


class Noting(ClientRule):
    """Notes its steps."""

    needs_projections = True

    def __init__(self, config: ClientRuleConfig):
        super().__init__(config)
        self.steps: list[LocalStep] = []
        self.projected: list[list[tuple[Tensor, Tensor]]] = []
        self.viewed: list[list[tuple[Tensor, Tensor]]] = []
        self.acted = 0

    def term(self, step: LocalStep) -> Tensor | None:
        self.steps.append(step)
        self.projected.append(step.projections)
        self.viewed.append(step.views)
        return None

    def after_step(self, step: LocalStep) -> None:
        assert step is self.steps[-1]
        self.acted += 1


@pytest.mark.parametrize(("name", "passes"), [("simclr", 1), ("byol", 2)])
def test_all_rules_see_what_the_step_projected_view_by_view(
    small: Small, name: str, passes: int
) -> None:
    objective, start, _, batch = make_setting(small, name)
    first, second = (Noting(ClientRuleConfig(name=n)) for n in ("one", "two"))
    told = client_round(start, roles=tensor_roles(objective))
    with RuleRunner(
        [first, second],
        [told, told],
        objective,
        start,
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lambda draws: torch.empty(0),
    ) as rules:
        for step in (1, 2):
            reference = copy.deepcopy(objective)
            loss = objective(batch)
            assert rules.total_loss(loss, batch) is loss
            rules.after_step()
            assert (first.acted, second.acted) == (step, step)
    assert len(first.projected[0]) == passes
    for noted in (first, second):
        for (examples, projected), view in zip(noted.viewed[-1], batch.views, strict=True):
            assert torch.equal(examples, view)
            assert projected.shape == (6, 8)
            assert projected.requires_grad
    whole = torch.cat(batch.views) if passes == 1 else batch.views[0]
    expected = reference.projector(reference.encoder(whole))
    assert torch.equal(first.projected[-1][0][1], expected)
    assert first.projected[-1][0][1] is second.projected[-1][0][1]


def leaking(**fields: object) -> custom_rules.Leaking:
    return custom_rules.Leaking(custom_rules.Leaking.Config.model_validate(fields))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (leaking(metric=0.5), "would send the metric secret, which `declared_metrics` does not"),
        (leaking(declares=True), "declares the metric secret, which `metrics` does not return"),
        (leaking(metric=0.5, declares=True), r"declares secret as a list of \d, and reports one"),
        (leaking(metric=[0.5], declares=True), r"declares secret as a list of \d, .* a list of 1"),
        (leaking(tensor="any"), "would send the tensor example, which `declared_tensors` does not"),
        (leaking(tensor="shape", declares=True), r"declares example as torch\.\w+ \(.*, and sends"),
        (leaking(tensor="kind", declares=True), r"declares example as torch\.\w+ \(.*, and sends"),
    ],
)
def test_what_a_rule_does_not_declare_never_leaves(
    rule: custom_rules.Leaking, message: str
) -> None:
    update = Update(client_round(), constant_state(1.0), constant_state(2.0), 3)
    with pytest.raises(ValueError, match=rf"the client rule \S+\.Leaking {message}"):
        collect_outputs([rule], [update])


def test_names_that_leave_have_the_rules_before_them() -> None:
    rules = [
        leaking(metric=[0.5, 1.0], declares=True),
        custom_rules.Small(custom_rules.Small.Config()),
    ]
    update = Update(client_round(), constant_state(1.0), constant_state(2.0), 3)
    metrics, extra, memory = collect_outputs(rules, [update] * 2)
    leaks, keeps = (rule.config.name for rule in rules)
    assert metrics.keys() == {f"{leaks}/secret", f"{keeps}/size", f"{keeps}/steps"}
    assert metrics[f"{keeps}/steps"] == [3.0]
    assert extra.keys() == {f"{keeps}/sum"}
    assert memory == {keeps: {"visits": torch.ones(())}}


def test_a_rules_own_of_what_was_sent_has_its_own_names() -> None:
    tensors = {name: torch.ones(1) for name in ("a/x", "a/b/y", "ab/z", "a")}
    assert select_rule_tensors("a", tensors).keys() == {"x", "b/y"}


def test_what_a_client_would_remember_had_it_followed_rules(small: Small) -> None:
    rules = [custom_rules.Small(custom_rules.Small.Config()), ModelContrast(ModelContrast.Config())]
    found = memory_after(rules, client_round(), constant_state(1.0), constant_state(3.0), 2)
    assert found.keys() == {rules[0].config.name, "moon"}
    assert found["moon"]["encoder.conv"].mean() == 3.0
