"""Client rules of a person's own."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedssl.client_rules import ClientRule, ClientRuleConfig, LocalStep, ReportedMetric, Update
from fedssl.model_state import State, TensorRoles


class Small(ClientRule):
    """Keeps weights small; tells how large they are, sends their sum, and counts visits."""

    class Config(ClientRuleConfig):
        name: str = f"{__name__}.Small"
        weight: float = 0.1

    config: Config

    def term(self, step: LocalStep) -> Tensor | None:
        squares = [w.square().sum() for w in step.weights.values()]
        return self.config.weight * torch.stack(squares).sum()

    def metrics(self, update: Update) -> dict[str, float | list[float]]:
        return {"size": _total(update.after).item(), "steps": [float(update.steps)]}

    def tensors(self, update: Update) -> State:
        return {"sum": _total(update.after)[None]}

    def remember(self, update: Update) -> State:
        visits = update.client_round.memory.get("visits", torch.zeros(()))
        return {"visits": visits + 1}

    def declared_metrics(
        self, model: Mapping[str, Tensor], roles: TensorRoles
    ) -> Mapping[str, ReportedMetric]:
        return {"size": ReportedMetric(0.0, 1e9), "steps": ReportedMetric(1.0, 1e6, 1)}

    def declared_tensors(
        self, model: Mapping[str, Tensor], roles: TensorRoles
    ) -> Mapping[str, Tensor]:
        return {"sum": torch.zeros(1)}


def _total(state: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([t.float().abs().sum() for t in state.values()]).sum()


class Leaking(ClientRule):
    """Sends other things than it declares."""

    class Config(ClientRuleConfig):
        name: str = f"{__name__}.Leaking"
        metric: float | list[float] | None = None
        tensor: str = ""
        declares: bool = False

    config: Config

    def metrics(self, update: Update) -> dict[str, float | list[float]]:
        return {} if self.config.metric is None else {"secret": self.config.metric}

    def tensors(self, update: Update) -> State:
        sent = {"": {}, "shape": torch.zeros(3), "kind": torch.zeros(2).double()}
        found = sent.get(self.config.tensor, torch.zeros(2))
        return {"example": found} if isinstance(found, Tensor) else {}

    def declared_metrics(
        self, model: Mapping[str, Tensor], roles: TensorRoles
    ) -> Mapping[str, ReportedMetric]:
        declares = self.config.declares and not self.config.tensor
        return {"secret": ReportedMetric(0.0, 1.0, 2)} if declares else {}

    def declared_tensors(
        self, model: Mapping[str, Tensor], roles: TensorRoles
    ) -> Mapping[str, Tensor]:
        declares = self.config.declares and bool(self.config.tensor)
        return {"example": torch.zeros(2)} if declares else {}


class Peeking(ClientRule):
    """Reads projections without a word of it."""

    Config = ClientRuleConfig

    def term(self, step: LocalStep) -> Tensor | None:
        return step.projections[0][1].sum()
