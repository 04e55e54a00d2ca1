"""Elastic's measure: how much a client's projections depend on each parameter."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules.base import ClientRule, ClientRuleConfig, ReportedMetric
from fedssl.client_rules.context import LocalStep, Update
from fedssl.model_state import ModelParts, parameters

OMEGA = "omega"
"""The metric: Ω of each parameter that was sent, in the model's order."""
LARGEST = 1e30


class Sensitivity(ClientRule):
    """Measures how much projections depend on each parameter, and reports it; for Elastic.

    Ω[l] ← μ·Ω[l] + (1 − μ)·‖∂F/∂w[l]‖₂ at each step, with F = mean‖z‖² over all views; 0 of
    parameters that are not trained.
    """

    watches = True
    only_measures = True

    class Config(ClientRuleConfig):
        """The rule's numbers."""

        name: Literal["sensitivity"] = "sensitivity"
        """The rule."""
        decay: Number = Field(0.95, ge=0, lt=1)
        """μ of the moving average over the steps."""

    config: Config
    _average: Tensor | None = None
    _names: tuple[str, ...] = ()

    def term(self, step: LocalStep) -> Tensor | None:
        """Measure, while the step's graph is there; add nothing."""
        projections = [projection for _, projection in step.projections]
        squares = torch.cat([z.float().square().sum(dim=1) for z in projections]).mean()
        gradients = torch.autograd.grad(
            squares, list(step.weights.values()), retain_graph=True, allow_unused=True
        )
        norms = torch.stack(
            [squares.new_zeros(()) if g is None else torch.linalg.vector_norm(g) for g in gradients]
        )
        self._names = tuple(step.weights)
        # From the first step's on, or clients of few steps would seem the less sensitive.
        self._average = (
            norms if self._average is None else torch.lerp(norms, self._average, self.config.decay)
        )
        return None

    def metrics(self, update: Update) -> dict[str, float | list[float]]:
        """Return Ω by parameter."""
        average = [] if self._average is None else self._average.tolist()
        known = dict(zip(self._names, average, strict=True))
        visit = update.visit
        sent = {name: t for name, t in visit.received.items() if name in visit.sent}
        names = parameters(sent, visit.parts.buffers)
        return {OMEGA: [known.get(name, 0.0) for name in names]}

    def metrics_sent(
        self, model: Mapping[str, Tensor], parts: ModelParts
    ) -> Mapping[str, ReportedMetric]:
        """Declare Ω of each parameter."""
        return {OMEGA: ReportedMetric(0.0, LARGEST, len(parameters(model, parts.buffers)))}
