"""FedDyn: each client's regulariser learns what the others' optimum is."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.feddyn import DynamicRegulariser
from fedssl.model_state import State, TensorRoles
from strategies.base import NO_PARTS, FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import Fold, ParameterMean


class _Shifted(ParameterMean):
    """The means, from which the server's state is taken off."""

    def __init__(self, strategy: "FedDyn", global_state: Mapping[str, Tensor]):
        super().__init__(global_state, strategy.parts.buffers)
        self._strategy = strategy
        self._global = global_state

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        merged = super().result()
        moved = {name: merged[name] - self._global[name] for name in self.names}
        shifts = self._strategy.adapt(moved, self.clients)
        return merged | {name: merged[name] - shift for name, shift in shifts.items()}


class FedDyn(FoldingStrategy):
    """Regularisers that learn: the clients' optima become one, for clients that differ.

    Clients minimise L(w) − ⟨h[k], w⟩ + α/2·‖w − g‖² (see `DynamicRegulariser`), where h[k] is
    theirs alone. With the S clients of the round, of N in all: h ← h − α·|S|/N·mean_k(w[k] − g),
    and g' = mean_k w[k] − h/α, over the parameters, each client counting the same. BatchNorm's
    statistics are averaged by examples; counters take the maximum.

    It sends no more than FedAvg. g' lies beyond the clients: too small an α lets it run away from
    them; try 0.001 to 0.1.

    Source: Acar et al., "Federated Learning Based on Dynamic Regularization", ICLR 2021,
    algorithm 1.

    Examples
    --------
    >>> from strategies.fold import UpdateSummary, merge
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (0.0, 0.0, 2.0))
    >>> fold = FedDyn(FedDyn.Config(alpha=0.1)).start_fold(1, sent)
    >>> merge(fold, [first, second], [UpdateSummary(examples=1)] * 2)  # beyond their mean, 1
    {'w': tensor([2.])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedDyn."""

        name: Literal["feddyn"] = "feddyn"
        """The name of this strategy."""
        alpha: Number = Field(0.01, gt=0)
        """α: how strongly weights are held."""

    config: Config

    def __init__(self, config: StrategyConfig | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        self._gathered: State = {}

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the rule."""
        return (DynamicRegulariser.Config(alpha=self.config.alpha),)

    def adapt(self, moved: Mapping[str, Tensor], clients: int) -> State:
        """Take in how far so many clients moved in the mean; return h/α."""
        share = clients / max(self.population, clients)
        # h/α is kept, not h, so that a small α costs no digits.
        self._gathered = {
            name: (self._gathered[name].to(move) if self._gathered else 0) - share * move
            for name, move in moved.items()
        }
        return self._gathered

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a plain mean, which is shifted in the end."""
        return _Shifted(self, global_state)

    def state_dict(self) -> dict[str, Tensor]:
        """Return h/α, by parameter."""
        return dict(self._gathered)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state that ``state_dict`` returned."""
        self._gathered = dict(state)

    def __repr__(self) -> str:
        return f"FedDyn: alpha {self.config.alpha}"
