"""Elastic's client rule: report how sensitive the projections are to each parameter."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig, ReportedMetric
from fedssl.client_rules.context import LocalStep, Update
from fedssl.model_state import TensorRoles, parameter_names

OMEGA = "omega"
"""The name of the metric: Ω of each received parameter, in the model's order."""
MAX_OMEGA = 1e30


class Sensitivity(ClientRule):
    """Reports how sensitive the projections are to each parameter, for Elastic.

    Ω[l] ← μ·Ω[l] + (1 − μ)·‖∂F/∂w[l]‖₂ at each step, with F = mean‖z‖² over all views; Ω is 0 for
    parameters that are not trained.
    """

    needs_projections = True
    metrics_only = True

    class Config(ClientRuleConfig):
        """The rule's section of a message."""

        name: Literal["sensitivity"] = "sensitivity"
        """The name of the rule."""
        decay: Number = Field(0.95, ge=0, lt=1)
        """μ: the decay of the moving average over the steps."""

    config: Config
    _average: Tensor | None = None
    _names: tuple[str, ...] = ()

    def term(self, step: LocalStep) -> Tensor | None:
        """Update Ω while the step's graph exists; add nothing to the loss."""
        projections = [projection for _, projection in step.projections]
        squares = torch.cat([z.float().square().sum(dim=1) for z in projections]).mean()
        gradients = torch.autograd.grad(
            squares, list(step.weights.values()), retain_graph=True, allow_unused=True
        )
        norms = torch.stack(
            [squares.new_zeros(()) if g is None else torch.linalg.vector_norm(g) for g in gradients]
        )
        self._names = tuple(step.weights)
        # It starts at the first step's norms: from 0, clients with few steps would have smaller Ω.
        self._average = (
            norms if self._average is None else torch.lerp(norms, self._average, self.config.decay)
        )
        return None

    def metrics(self, update: Update) -> dict[str, float | list[float]]:
        """Return Ω of each received parameter."""
        average = [] if self._average is None else self._average.tolist()
        omega = dict(zip(self._names, average, strict=True))
        client_round = update.client_round
        received = client_round.received_names
        model = {name: t for name, t in client_round.round_start.items() if name in received}
        names = parameter_names(model, client_round.roles.buffers)
        return {OMEGA: [omega.get(name, 0.0) for name in names]}

    def declared_metrics(
        self, model: Mapping[str, Tensor], roles: TensorRoles
    ) -> Mapping[str, ReportedMetric]:
        """Declare one number for each parameter."""
        return {OMEGA: ReportedMetric(0.0, MAX_OMEGA, len(parameter_names(model, roles.buffers)))}
