"""FedX's client rule: distillation from the frozen model that the client received."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.base.seeding import derive_seed, seeded_initialisation
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import ClientRound, LocalStep, Update
from fedssl.client_rules.frozen import FrozenModel
from fedssl.config import ClientConfig
from fedssl.model_state import State, TensorRoles, clone
from fedssl.objectives.base import Objective
from fedssl.objectives.simclr import nt_xent


@in_float32
def relational(
    first: Tensor, second: Tensor, others: Tensor, temperature: float, target_temperature: float
) -> Tensor:
    """Return ½·(KL(t ‖ p₁) + KL(t ‖ p₂)), the mean over examples; a scalar.

    p_i = softmax(s(z_i, a)/τ) is the similarity of a view to each of some other examples a, where s
    is the cosine; t is the mean of both at the target's temperature.

    Parameters
    ----------
    first, second : Tensor
        z₁, z₂ [B, D]: projections of two views.
    others : Tensor
        a [A, D]: projections of other examples.
    temperature, target_temperature : float
        τ > 0 of p and of t.

    Source: Han et al., "FedX: Unsupervised Federated Learning with Cross Knowledge Distillation",
    ECCV 2022; there, too, gradients flow through the target.
    """
    similarities = [F.normalize(z, dim=1) @ F.normalize(others, dim=1).T for z in (first, second)]
    target = torch.stack([(s / target_temperature).softmax(dim=1) for s in similarities]).mean(
        dim=0
    )
    divergences = [
        F.kl_div((s / temperature).log_softmax(dim=1), target, reduction="batchmean")
        for s in similarities
    ]
    return torch.stack(divergences).mean()


class CrossDistillation(ClientRule):
    """Adds FedX's losses: distillation from the frozen received model, and relational losses.

    Let z be a view's projection, h(z) a predictor's output for it, and z' the projection of the
    received model, which is frozen and uses its own BatchNorm statistics. The term is the sum of
    the contrast of h(z₁) with z'₂, `relational` of z₁, z₂ and random examples' z, and `relational`
    of h(z₁), h(z₂) and random examples' z'. The objective's own loss is FedX's local contrast if
    it is SimCLR's. The random examples are another batch of the same size. The predictor is
    trained and merged like the model, and sent as extra tensors.
    """

    needs_projections = True

    class Config(ClientRuleConfig):
        """The rule's section of a message."""

        name: Literal["fedx"] = "fedx"
        """The name of the rule."""
        temperature: Number = Field(0.1, gt=0)
        """τ of the contrast and of the relational losses."""
        target_temperature: Number = Field(0.1, gt=0)
        """τ of the target of the relational losses."""

    config: Config
    network: nn.Module | None = None

    def check(self, client: ClientConfig, objective: Objective) -> None:
        """Refuse an objective of one view."""
        if objective.views_in_all < 2:
            raise ValueError(
                f"objective.name = {objective.config.name}: fedx compares two views of each "
                "example, and this has one; choose another objective or strategy"
            )

    def on_round_start(
        self, client_round: ClientRound, objective: Objective, training_start: Mapping[str, Tensor]
    ) -> None:
        """Freeze the received model, and build the predictor: in the first round from the seed."""
        self._received_model = FrozenModel(objective, training_start, own_statistics=True)
        with seeded_initialisation(derive_seed(client_round.seed, "fedx predictor")):
            self.network = _predictor(client_round.roles)
        # The received tensors may still be on the CPU.
        self.network.to(next(objective.parameters()).device)
        if client_round.extra:
            self.network.load_state_dict(dict(client_round.extra))

    def term(self, step: LocalStep) -> Tensor | None:
        """Return the sum of the three losses."""
        (_, z1), (second, z2), *_ = step.views
        random_view = step.sample_view()
        objective = step.objective
        random_projections = objective.projector(objective.encoder(random_view))
        with torch.no_grad():
            frozen2, frozen_random = map(self._received_model.project, (second, random_view))
        assert self.network is not None
        h1, h2 = self.network(z1), self.network(z2)
        tau, target_tau = self.config.temperature, self.config.target_temperature
        return (
            nt_xent(h1, frozen2, tau)
            + relational(z1, z2, random_projections, tau, target_tau)
            + relational(h1, h2, frozen_random, tau, target_tau)
        )

    def tensors(self, update: Update) -> State:
        """Return the predictor's tensors."""
        assert self.network is not None
        return clone(self.network.state_dict())

    def declared_tensors(
        self, model: Mapping[str, Tensor], roles: TensorRoles
    ) -> Mapping[str, Tensor]:
        """Declare the predictor's tensors."""
        with torch.device("meta"):
            return _predictor(roles).state_dict()


def _predictor(roles: TensorRoles) -> nn.Module:
    width = roles.projection_width
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
