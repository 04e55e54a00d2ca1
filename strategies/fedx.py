"""FedX: clients learn relations, and from the model that they received."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.fedx import CrossDistillation
from fedssl.model_state import State, TensorRoles
from strategies.base import NO_PARTS
from strategies.config import StrategyConfig
from strategies.fedavg import MeanByExamples
from strategies.fold import ExampleMean, Fold, UpdateSummary, named, part_of


class _WithPredictor:
    """The mean by examples of the models, and of what came beside them."""

    def __init__(self, strategy: "FedX", global_state: Mapping[str, Tensor]):
        self._strategy = strategy
        self._mean = ExampleMean(global_state)
        self._predictor = ExampleMean()

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        self._mean.add(state, summary)
        self._predictor.add(summary.extra, summary)

    def sums(self) -> State:
        return {
            **named("mean", self._mean.sums()),
            **named("predictor", self._predictor.sums()),
        }

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        self._mean.take_sums(part_of("mean", total))
        self._predictor.take_sums(part_of("predictor", total))

    def result(self) -> dict[str, Tensor]:
        self._strategy.load_state_dict(self._predictor.result())
        return self._mean.result()


class FedX(MeanByExamples):
    """Distils relations, locally and from the received model: SimCLR on clients that differ.

    Clients add three terms to their loss (see `CrossDistillation`), and train a predictor of their
    projections, which travels beside the model. The server takes the mean by examples of both.
    It costs clients a second batch, and two forward passes of the received model, a step. With
    ``objective: {name: simclr, temperature: 0.1}`` it is the paper's loss.

    Source: Han et al., "FedX: Unsupervised Federated Learning with Cross Knowledge Distillation",
    ECCV 2022, and its code. There views and random examples go through the network as one batch.

    Examples
    --------
    In a config, with the paper's loss::

        objective: {name: simclr, temperature: 0.1}
        strategy: {name: fedx, temperature: 0.1}

    >>> FedX(FedX.Config(temperature=0.2)).rules(server_round=1)
    (Config(name='fedx', temperature=0.2, target_temperature=0.1),)
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedX."""

        name: Literal["fedx"] = "fedx"
        """The name of this strategy."""
        temperature: Number = Field(0.1, gt=0)
        """τ of contrast and relations."""
        target_temperature: Number = Field(0.1, gt=0)
        """τ of the relations that are the target."""

    config: Config

    def __init__(self, config: StrategyConfig | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        self._predictor: State = {}

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        """Return the rule."""
        return (
            CrossDistillation.Config(
                temperature=self.config.temperature,
                target_temperature=self.config.target_temperature,
            ),
        )

    def extra(self, server_round: int, global_state: Mapping[str, Tensor]) -> State:
        """Return the predictor; nothing before the first round, when each client makes the same."""
        return dict(self._predictor)

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return the two means."""
        return _WithPredictor(self, global_state)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the predictor."""
        return dict(self._predictor)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state that ``state_dict`` returned."""
        self._predictor = dict(state)

    def __repr__(self) -> str:
        return f"FedX: temperature {self.config.temperature}"
