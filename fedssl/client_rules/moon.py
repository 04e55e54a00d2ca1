"""MOON's term: projections are drawn to the global model's, and away from the client's last one."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import LocalStep, Update, Visit
from fedssl.client_rules.frozen import FrozenModel
from fedssl.model_state import State
from fedssl.objectives.base import Objective


@in_float32
def model_contrast(projection: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Return −log( e^{s(z, z_glob)/τ} / (e^{s(z, z_glob)/τ} + e^{s(z, z_prev)/τ}) ), the mean.

    Parameters
    ----------
    projection : Tensor
        z [B, D]: of the model in training.
    others : Tensor
        [2, B, D]: of the global model, and of the client's own last one; the same examples.
    temperature : float
        τ > 0. s is the cosine.

    Source: Li, He and Song, "Model-Contrastive Federated Learning", CVPR 2021.
    """
    similarities = F.cosine_similarity(projection[None], others.detach(), dim=-1) / temperature
    return (similarities.logsumexp(dim=0) - similarities[0]).mean()


class ModelContrast(ClientRule):
    """Draws projections to the global model's and away from the client's last one: MOON's term.

    On a first visit there is no last model, and no term. All models have BatchNorm by their own
    batch. A client remembers its encoder and projector.
    """

    watches = True

    class Config(ClientRuleConfig):
        """The rule's numbers."""

        name: Literal["moon"] = "moon"
        """The rule."""
        mu: Number = Field(1.0, ge=0)
        """μ: the term's weight."""
        temperature: Number = Field(0.5, gt=0)
        """τ of the contrast."""

    config: Config
    _others: tuple[FrozenModel, ...] = ()

    def begin(self, visit: Visit, objective: Objective, start: Mapping[str, Tensor]) -> None:
        """Take the model that was received, and the last one, as they are."""
        if visit.memory and self.config.mu:
            self._others = tuple(FrozenModel(objective, s) for s in (start, visit.memory))

    def term(self, step: LocalStep) -> Tensor | None:
        """Return μ times the mean contrast of all views."""
        if not self._others:
            return None
        terms = []
        for examples, projection in step.projections:
            others = torch.stack([model.project(examples) for model in self._others])
            terms.append(model_contrast(projection, others, self.config.temperature))
        return self.config.mu * torch.stack(terms).mean()

    def remember(self, update: Update) -> State:
        """Return encoder and projector."""
        if not self.config.mu:
            return {}
        return {
            name: tensor
            for name, tensor in update.after.items()
            if name.startswith(("encoder.", "projector."))
        }
