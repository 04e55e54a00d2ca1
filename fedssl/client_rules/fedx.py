"""FedX's rule: distillation from the model that was received, which stays as it is."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.base.seeding import derive, initialising
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import LocalStep, Update, Visit
from fedssl.client_rules.frozen import FrozenModel
from fedssl.config import ClientConfig
from fedssl.model_state import ModelParts, State, clone
from fedssl.objectives.base import Objective
from fedssl.objectives.simclr import nt_xent


@in_float32
def relational(
    first: Tensor, second: Tensor, others: Tensor, temperature: float, target_temperature: float
) -> Tensor:
    """Return ½·(KL(t ‖ p₁) + KL(t ‖ p₂)), the mean over examples; a scalar.

    p_i = softmax(s(z_i, a)/τ) says how akin a view is to each of some other examples a, s being
    the cosine; t is the mean of both by the target's temperature.

    Parameters
    ----------
    first, second : Tensor
        z₁, z₂ [B, D]: projections of two views.
    others : Tensor
        a [A, D]: of other examples.
    temperature, target_temperature : float
        τ > 0 of p, and of t.

    Source: Han et al., "FedX: Unsupervised Federated Learning with Cross Knowledge Distillation",
    ECCV 2022; the target has gradients there, too.
    """
    akin = [F.normalize(z, dim=1) @ F.normalize(others, dim=1).T for z in (first, second)]
    target = torch.stack([(s / target_temperature).softmax(dim=1) for s in akin]).mean(dim=0)
    divergences = [
        F.kl_div((s / temperature).log_softmax(dim=1), target, reduction="batchmean") for s in akin
    ]
    return torch.stack(divergences).mean()


class CrossDistillation(ClientRule):
    """Learns relations to random examples, and from the frozen received model: FedX's losses.

    With z a view's projection, h(z) what a predictor makes of it, and z' the received model's
    projection, which does not learn and has its own BatchNorm statistics: the contrast of h(z₁)
    with z'₂, `relational` of z₁, z₂ among random examples' z, and of h(z₁), h(z₂) among their z'.
    The objective's own loss is FedX's local contrast if it is SimCLR's. The random examples are a
    batch of their own, as large as the step's. The predictor is trained with the model and merged
    like it; it travels beside it.
    """

    watches = True

    class Config(ClientRuleConfig):
        """The rule's numbers."""

        name: Literal["fedx"] = "fedx"
        """The rule."""
        temperature: Number = Field(0.1, gt=0)
        """τ of contrast and relations."""
        target_temperature: Number = Field(0.1, gt=0)
        """τ of the relations that are the target."""

    config: Config
    network: nn.Module | None = None

    def check(self, client: ClientConfig, objective: Objective) -> None:
        """Refuse an objective of one view."""
        if objective.views_in_all < 2:
            raise ValueError(
                f"objective.name = {objective.config.name}: fedx compares two views of each "
                "example, and this has one; choose another objective or strategy"
            )

    def begin(self, visit: Visit, objective: Objective, start: Mapping[str, Tensor]) -> None:
        """Freeze the received model, and make the predictor: from the seed before it is sent."""
        self._received = FrozenModel(objective, start, own_statistics=True)
        with initialising(derive(visit.seed, "fedx predictor")):
            self.network = _predictor(visit.parts)
        # What was received may still lie on the CPU.
        self.network.to(next(objective.parameters()).device)
        if visit.extra:
            self.network.load_state_dict(dict(visit.extra))

    def term(self, step: LocalStep) -> Tensor | None:
        """Return the three losses' sum."""
        (_, z1), (second, z2), *_ = step.views
        random = step.draw_views()
        objective = step.objective
        relations = objective.projector(objective.encoder(random))
        with torch.no_grad():
            frozen2, frozen_random = (self._received.project(x) for x in (second, random))
        assert self.network is not None
        h1, h2 = self.network(z1), self.network(z2)
        own, target = self.config.temperature, self.config.target_temperature
        return (
            nt_xent(h1, frozen2, own)
            + relational(z1, z2, relations, own, target)
            + relational(h1, h2, frozen_random, own, target)
        )

    def tensors(self, update: Update) -> State:
        """Return the predictor."""
        assert self.network is not None
        return clone(self.network.state_dict())

    def tensors_sent(self, model: Mapping[str, Tensor], parts: ModelParts) -> Mapping[str, Tensor]:
        """Declare the predictor's tensors."""
        with torch.device("meta"):
            return _predictor(parts).state_dict()


def _predictor(parts: ModelParts) -> nn.Module:
    width = parts.projection
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
