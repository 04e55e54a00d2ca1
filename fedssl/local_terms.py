"""What strategies add to a client's loss: FedProx's and MOON's terms, and what Elastic measures."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from fedssl.asked import Asked
from fedssl.objectives.base import Objective
from fedssl.precision import in_float32
from fedssl.state import clone
from fedssl.watch import Watch


def proximal(weights: Mapping[str, Tensor], anchors: Mapping[str, Tensor]) -> Tensor:
    """Return ½·Σ‖w − w₀‖², a scalar: how far weights are from where they began.

    Source: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, equation 2.
    """
    distances = [(w - anchors[name].to(w)).square().sum() for name, w in weights.items()]
    return torch.stack(distances).sum() / 2


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


class _Projecting(nn.Module):
    """An objective's encoder and projector, to be run with the tensors of other models."""

    def __init__(self, objective: Objective):
        super().__init__()
        self.encoder, self.projector = objective.encoder, objective.projector

    def forward(self, examples: Tensor) -> Tensor:
        projection: Tensor = self.projector(self.encoder(examples))
        return projection


class LocalTerms:
    """What is added to a client's loss during one update, and measured beside it; a context.

    Parameters
    ----------
    objective : Objective
        In training.
    asked : Asked
        What the strategy asks for; of most, nothing.
    start : Mapping[str, Tensor]
        The federated tensors that the update starts from.
    own : Mapping[str, Tensor]
        The client's own at the end of its last update; empty on its first visit, when there is
        nothing to keep away from, so that MOON's term is left out.
    """

    def __init__(
        self,
        objective: Objective,
        asked: Asked,
        start: Mapping[str, Tensor],
        own: Mapping[str, Tensor],
    ):
        self._asked = asked
        self._weights = {
            n: p for n, p in objective.named_parameters() if p.requires_grad and n in start
        }
        self._names = [n for n, _ in objective.named_parameters() if n in start]
        self._start = start
        self._contrasts = bool(asked.moon_mu and own)
        if self._contrasts:
            self._network = _Projecting(objective)
            # Copies, as their BatchNorm goes on measuring, like that of the model in training.
            self._others = [clone(self._part(model)) for model in (start, own)]
        self._watch = (
            Watch(objective) if self._contrasts or asked.sensitivity_decay is not None else None
        )
        self._contexts = ExitStack()
        self._average: Tensor | None = None

    def _part(self, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
        device = next(self._network.parameters()).device
        return {name: model[name].to(device) for name in self._network.state_dict()}

    def __enter__(self) -> Self:
        if self._watch:
            self._contexts.enter_context(self._watch)
        return self

    def __exit__(self, *exception: object) -> None:
        self._contexts.close()

    def added_to(self, loss: Tensor) -> Tensor:
        """Return the loss with all terms, before its backward pass; measure the sensitivity."""
        if self._asked.proximal_mu:
            loss = loss + self._asked.proximal_mu * proximal(self._weights, self._start)
        if self._watch is None:
            return loss
        seen = self._watch.take()
        if self._contrasts:
            loss = loss + self._asked.moon_mu * self._contrast(seen)
        if self._asked.sensitivity_decay is not None:
            self._measure([projection for _, projection in seen], self._asked.sensitivity_decay)
        return loss

    def _contrast(self, seen: list[tuple[Tensor, Tensor]]) -> Tensor:
        terms = []
        for examples, projection in seen:
            with torch.no_grad():
                others = [functional_call(self._network, o, (examples,)) for o in self._others]
            terms.append(
                model_contrast(projection, torch.stack(others), self._asked.moon_temperature)
            )
        return torch.stack(terms).mean()

    def _measure(self, projections: list[Tensor], decay: float) -> None:
        """Move Ω[l] ← μ·Ω[l] + (1 − μ)·‖∂F/∂w[l]‖₂ with F = mean‖z‖² over all views."""
        squares = torch.cat([z.float().square().sum(dim=1) for z in projections]).mean()
        gradients = torch.autograd.grad(
            squares, list(self._weights.values()), retain_graph=True, allow_unused=True
        )
        norms = torch.stack(
            [squares.new_zeros(()) if g is None else torch.linalg.vector_norm(g) for g in gradients]
        )
        # From the first step's on, or clients of few steps would seem the less sensitive.
        self._average = norms if self._average is None else torch.lerp(norms, self._average, decay)

    def sensitivity(self) -> dict[str, float]:
        """Return Ω by federated parameter, 0 of frozen ones; empty where it is not asked for."""
        if self._average is None:
            return {}
        known = dict(zip(self._weights, self._average.tolist(), strict=True))
        return {name: known.get(name, 0.0) for name in self._names}
