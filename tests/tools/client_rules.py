"""What tests of client rules share: models, clients' rounds, and rules at work."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from fedssl.client_rules import ClientRound, ClientRule, Update
from fedssl.client_rules.rule_runner import RuleRunner
from fedssl.config import LearningConfig
from fedssl.model_state import State, TensorRoles, clone, federated_state, tensor_roles
from fedssl.objectives import Batch, Objective, ObjectiveConfig
from tests.tools.blueprints import blueprint

Small = Callable[..., LearningConfig]

PARAMETERS = ("encoder.conv", "encoder.bias", "projector.weight", "predictor.weight")


def constant_state(value: float) -> State:
    """A small model, all of whose values are the same."""
    shapes = {"encoder.conv": (2, 3, 3, 3), "projector.weight": (2, 2), "predictor.weight": (2, 2)}
    tensors = {name: torch.full(shape, value) for name, shape in shapes.items()}
    small = {n: torch.full((2,), value) for n in ("encoder.bias", "encoder.mean", "predictor.mean")}
    return tensors | small


def client_round(round_start: Mapping[str, Tensor] | None = None, **fields: Any) -> ClientRound:
    """A client's round 4, of the small model unless another is given."""
    tensors = constant_state(1.0) if round_start is None else round_start
    usual: dict[str, Any] = {
        "server_round": 4,
        "round_start": tensors,
        "received_names": frozenset(tensors),
        "trainable_names": frozenset(PARAMETERS),
        "roles": TensorRoles(),
    }
    return ClientRound(**{**usual, **fields})


def remembered(
    rule: ClientRule, seen: ClientRound, before: float = 1.0, after: float = 3.0
) -> State:
    """What a client remembers of an update from one value to another."""
    return rule.remember(Update(seen, constant_state(before), constant_state(after), 3))


def make_setting(small: Small, name: str) -> tuple[Objective, State, State, Batch]:
    """An objective in training, its tensors, others that a client might have, and a batch."""
    objective = blueprint(small(f"objective={{name: {name}}}"), 16).build()
    objective.train()
    start = clone(federated_state(objective))
    draws = torch.Generator().manual_seed(0)
    own = {
        n: t + 0.1 * torch.randn(t.shape, generator=draws) if t.is_floating_point() else t
        for n, t in start.items()
    }
    own = {n: t.abs() if n.endswith("var") else t for n, t in own.items()}
    views = [torch.randn(6, 3, 16, 16, generator=draws) for _ in range(2)]
    return objective, start, own, Batch(views, torch.arange(6))


def run_rules(
    rule: ClientRule,
    objective: Objective,
    start: State,
    sample_view: Callable[[torch.Generator], Tensor] = lambda draws: torch.empty(0),
    **fields: Any,
) -> RuleRunner:
    """A rule in one update."""
    trained = frozenset(
        n for n, p in objective.named_parameters() if p.requires_grad and n in start
    )
    seen = client_round(start, trainable_names=trained, roles=tensor_roles(objective), **fields)
    return RuleRunner(
        [rule], [seen], objective, start, lambda parameters: SGD(parameters, lr=0.5), sample_view
    )


def projections(
    objective: Objective, tensors: State, examples: Tensor, training: bool = True
) -> Tensor:
    """What a copy of the objective with these tensors makes of examples."""
    model = copy.deepcopy(objective).train(training)
    model.load_state_dict(tensors, strict=False)
    projected: Tensor = model.projector(model.encoder(examples))
    return projected.detach()


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """See that float32 numbers are those that a formula gives in float64."""
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance, check_dtype=False)


class Pulled(Objective):
    """Pulls every weight to the mean label of a batch, so that gradients are known: w − label."""

    Config = ObjectiveConfig
    number_of_views = 1

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder, self.projector = encoder, nn.Identity()

    def forward(self, batch: Batch) -> Tensor:
        """Return ½·Σ(w − label)²."""
        assert batch.labels is not None
        aim = batch.labels.float().mean()
        squares = [(weight - aim).square().sum() for weight in self.parameters()]
        return torch.stack(squares).sum() / 2


PULLED = (
    f"objective={{name: {__name__}.Pulled}}",
    "client.local_steps=3",
    "client.weight_decay=0",
    "client.lr=0.1",
)
"""An experiment of it, with steps of plain SGD."""
