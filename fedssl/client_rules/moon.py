"""MOON's client rule: a contrast with the projections of the global and the last local model."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fedssl.base.fields import Number
from fedssl.base.precision import in_float32
from fedssl.client_rules.base import ClientRule, ClientRuleConfig
from fedssl.client_rules.context import ClientRound, LocalStep, Update
from fedssl.client_rules.frozen import FrozenModel
from fedssl.model_state import State
from fedssl.objectives.base import Objective


@in_float32
def model_contrast(projection: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Return −log( e^{s(z, z_glob)/τ} / (e^{s(z, z_glob)/τ} + e^{s(z, z_prev)/τ}) ), the mean.

    Parameters
    ----------
    projection : Tensor
        z [B, D]: projections of the model in training.
    others : Tensor
        [2, B, D]: z_glob and z_prev, projections of the same examples by the global model and by
        the client's last model.
    temperature : float
        τ > 0. s is the cosine.

    Source: Li, He and Song, "Model-Contrastive Federated Learning", CVPR 2021.
    """
    similarities = F.cosine_similarity(projection[None], others.detach(), dim=-1) / temperature
    return (similarities.logsumexp(dim=0) - similarities[0]).mean()


class ModelContrast(ClientRule):
    """Adds MOON's term: projections near the global model's and far from the last local model's.

    In a client's first round there is no last model, and no term. BatchNorm of all models uses the
    statistics of the batch. A client remembers its encoder and projector.
    """

    needs_projections = True

    class Config(ClientRuleConfig):
        """The rule's section of a message."""

        name: Literal["moon"] = "moon"
        """The name of the rule."""
        mu: Number = Field(1.0, ge=0)
        """μ: the weight of the term."""
        temperature: Number = Field(0.5, gt=0)
        """τ: the temperature of the contrast."""

    config: Config
    _others: tuple[FrozenModel, ...] = ()

    def on_round_start(
        self, client_round: ClientRound, objective: Objective, training_start: Mapping[str, Tensor]
    ) -> None:
        """Freeze the received model and the client's last model."""
        if client_round.memory and self.config.mu:
            states = (training_start, client_round.memory)
            self._others = tuple(FrozenModel(objective, s) for s in states)

    def term(self, step: LocalStep) -> Tensor | None:
        """Return μ times the mean contrast over all views."""
        if not self._others:
            return None
        terms = []
        for examples, projection in step.projections:
            others = torch.stack([model.project(examples) for model in self._others])
            terms.append(model_contrast(projection, others, self.config.temperature))
        return self.config.mu * torch.stack(terms).mean()

    def remember(self, update: Update) -> State:
        """Return the tensors of the encoder and the projector."""
        if not self.config.mu:
            return {}
        return {
            name: tensor
            for name, tensor in update.after.items()
            if name.startswith(("encoder.", "projector."))
        }
