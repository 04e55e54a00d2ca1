"""SCAFFOLD: control variates hold clients' steps to all clients' mean gradient."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.scaffold import ControlVariates
from fedssl.model_state import State, TensorRoles, parameter_names
from strategies.base import NO_PARTS, FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import Fold, ParameterMean, UpdateSummary, WeightedMean, named, part_of

PREFIX = "scaffold/"


class _Corrected(ParameterMean):
    """The means, and that of the changes of clients' control variates."""

    def __init__(self, strategy: "SCAFFOLD", global_state: Mapping[str, Tensor]):
        super().__init__(global_state, strategy.parts.buffers)
        self._strategy = strategy
        self._global = global_state
        self._changes = WeightedMean({f"{PREFIX}{n}": global_state[n] for n in self.names})

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        super().add(state, summary)
        self._changes.add(summary.extra, 1)

    def sums(self) -> State:
        return {**super().sums(), **named("changes", self._changes.sums())}

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        super().take_sums(total)
        self._changes.take_sums(part_of("changes", total))

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        merged = super().result()
        for name in self.names:
            torch.lerp(self._global[name], merged[name], self._strategy.config.lr, out=merged[name])
        self._strategy.adapt(self._changes.result(), self.clients)
        return merged


class SCAFFOLD(FoldingStrategy):
    """Control variates correct each local step: clients that differ and take many steps.

    Clients step by ∇L + c − c[k] (see `ControlVariates`), and send how c[k] changed beside the
    model: twice the bytes of FedAvg, both ways. g' = g + η·mean_k(w[k] − g) and
    c' = c + |S|/N·mean_k(c[k]⁺ − c[k]) over the S clients of the round, of N in all, each counting
    the same. BatchNorm's statistics are averaged by examples; counters take the maximum.

    c is at first 0, and it takes each client a round to be corrected: with few of very many
    clients a round it does little.

    Source: Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
    ICML 2020, algorithm 1, option II; with momentum, K·η becomes η·Σ_j a[j], as FedNova counts
    steps (Wang et al., NeurIPS 2020).

    Examples
    --------
    >>> strategy = SCAFFOLD(SCAFFOLD.Config(lr=0.5))
    >>> strategy.extra(server_round=1, global_state={"w": torch.ones(2)})
    {'scaffold/w': tensor([0., 0.])}
    >>> strategy.adapt({"scaffold/w": torch.tensor([0.5, -0.5])}, clients=10)
    >>> strategy.extra(server_round=2, global_state={"w": torch.ones(2)})
    {'scaffold/w': tensor([ 0.5000, -0.5000])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of SCAFFOLD."""

        name: Literal["scaffold"] = "scaffold"
        """The name of this strategy."""
        lr: Number = Field(1.0, gt=0)
        """η, the server's learning rate."""

    config: Config

    def __init__(self, config: StrategyConfig | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        self._control: State = {}

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the rule."""
        return (ControlVariates.Config(),)

    def extra(self, server_round: int, global_state: Mapping[str, Tensor]) -> State:
        """Return c, 0 before the first round."""
        return {
            f"{PREFIX}{name}": self._control.get(
                f"{PREFIX}{name}", torch.zeros_like(global_state[name])
            )
            for name in parameter_names(global_state, self.parts.buffers)
        }

    def adapt(self, changes: Mapping[str, Tensor], clients: int) -> None:
        """Move c by the mean change of so many clients."""
        share = clients / max(self.population, clients)
        self._control = {
            name: share * change + (self._control[name].to(change) if self._control else 0)
            for name, change in changes.items()
        }

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return the two means."""
        return _Corrected(self, global_state)

    def state_dict(self) -> dict[str, Tensor]:
        """Return c, by parameter."""
        return dict(self._control)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state that ``state_dict`` returned."""
        self._control = dict(state)

    def __repr__(self) -> str:
        return f"SCAFFOLD: lr {self.config.lr}"
