"""The kit of strategies: all of ours keep the contract, and each breach is found."""

from collections.abc import Mapping
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.scaffold import ControlVariates
from fedssl.model_state import State
from fedssl.testing import check_strategy
from fedssl.training.transmission import TransmissionPlan
from strategies import STRATEGIES, FedAvg, FoldingStrategy, StrategyConfig
from strategies.fedavg import MeanByExamples
from strategies.fold import ExampleMean, Fold, UpdateSummary
from strategies.server_step import ServerStep


# Each trains a few clients for three rounds, and more than once.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("fedavg", "scaffold") else [pytest.mark.slow])
        for name in STRATEGIES
    ],
)
def test_every_strategy_keeps_the_contract(name: str) -> None:
    check_strategy(name)


def test_a_schedule_of_layers_keeps_it() -> None:
    check_strategy("layer-schedule", every={"encoder": 2, "projector": 0})


def test_it_is_offered_beside_the_others() -> None:
    import fedssl.testing
    from strategies.testing import check_strategy as own

    assert fedssl.testing.check_strategy is own
    assert "check_strategy" in fedssl.testing.__all__
    with pytest.raises(AttributeError, match="no attribute 'check_nothing'"):
        _ = fedssl.testing.check_nothing


def test_what_is_no_strategy_of_ours_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be a subclass of .*Strategy"):
        check_strategy("json.JSONDecoder")
    with pytest.raises(ValueError, match=r"is no strategies\.FoldingStrategy"):
        check_strategy("flwr.serverapp.strategy.FedAvg")
    with pytest.raises(ValueError, match="did you mean fedavg"):
        check_strategy("fedavgg")


class Toy(MeanByExamples):
    """For what a test breaks."""

    class Config(StrategyConfig):
        """The toy's section."""

        name: str = "toy"
        """The toy."""


class FirstCounts(Toy):
    """Takes the first client that comes."""

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        return _First(global_state)


class _First(ExampleMean):
    def __init__(self, like: Mapping[str, Tensor]):
        super().__init__(like)
        self._is_first = True

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        if self._is_first:
            super().add(state, summary)
        self._is_first = False

    sums = None  # type: ignore[assignment]


class Writing(Toy):
    """Adds up in a client's own tensors."""

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        return _Writing(global_state)


class _Writing(ExampleMean):
    @torch.no_grad()
    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        for tensor in state.values():
            tensor.mul_(1 if tensor.is_floating_point() else 2)
        super().add(state, summary)


class Hoarding(Toy):
    """Keeps all that came."""

    seen: list[Any]

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        self.seen = []
        return _Hoarding(self, global_state)


class _Hoarding(ExampleMean):
    def __init__(self, strategy: Hoarding, like: Mapping[str, Tensor]):
        super().__init__(like)
        self._strategy = strategy

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        self._strategy.seen.append(state)
        super().add(state, summary)


class Forgetful(Toy):
    """Steps by momentum that no checkpoint holds."""

    momentum: State | None = None

    def after_fold(self, step: ServerStep) -> State:
        floats = {n: t for n, t in step.merged.items() if t.is_floating_point()}
        moved = {n: t - step.before[n] for n, t in floats.items()}
        before = self.momentum or moved
        self.momentum = {n: 0.5 * t + 0.5 * before[n] for n, t in moved.items()}
        return {**step.merged, **{n: step.before[n] + t for n, t in self.momentum.items()}}


class Drawing(Toy):
    """Adds noise that nobody can have again."""

    def after_fold(self, step: ServerStep) -> State:
        return {
            n: t + 1e-6 * torch.randn(t.shape) if t.is_floating_point() else t
            for n, t in step.merged.items()
        }


class Rounding(Toy):
    """Makes counters floating."""

    def after_fold(self, step: ServerStep) -> State:
        return {name: tensor.float() for name, tensor in step.merged.items()}


class Counting(Toy):
    """Adds counters up."""

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        return _Counting(global_state)


class _Counting(ExampleMean):
    def result(self) -> State:
        return {n: t if t.is_floating_point() else 10 * t for n, t in super().result().items()}


class WrongSum(Toy):
    """Says that its round is a sum, and it is none."""

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        return _WrongSum(global_state)


class _WrongSum(ExampleMean):
    def result(self) -> State:
        return {n: t * 2 if t.is_floating_point() else t for n, t in super().result().items()}

    def take_sums(self, total: Mapping[str, Tensor]) -> None:
        super().take_sums({n: t if n == "the weights" else t / 2 for n, t in total.items()})


class Pointing(Toy):
    """Withholds what there is not."""

    def plan(self, server_round: int, global_state: Mapping[str, Tensor]) -> TransmissionPlan:
        return TransmissionPlan(withheld=("nothing",))


class Stray(Toy):
    """Sends something for no rule."""

    def extra(self, server_round: int, global_state: Mapping[str, Tensor]) -> State:
        return {"nobody/tensor": torch.zeros(2)}


class Asking(Toy):
    """Asks clients for what they cannot do."""

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        return (ControlVariates.Config(),)


class Needing(Toy):
    """Needs a metric that there is not."""

    required_metrics = frozenset({"temperature"})


class Unnamed(FoldingStrategy):
    """Has a field that says nothing."""

    class Config(StrategyConfig):
        name: Literal["unnamed"] = "unnamed"
        size: int = 3

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        return ExampleMean(global_state)


class Untold(FedAvg):
    pass


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (FirstCounts, "merges otherwise where clients come in another order"),
        (Writing, "writes to the models that it is given: copy them first: see encoder"),
        (Hoarding, "its fold holds clients'"),
        (Forgetful, "merges otherwise after a resume, in round 2"),
        (Drawing, "draws from torch's global generator"),
        (Rounding, r"has encoder.* as float32 \[\], not int64"),
        (Counting, "the counter .* is outside of the clients'"),
        (WrongSum, "says that a round is a sum, and gives another"),
        (Pointing, "its plan names .'nothing'., which is no tensor"),
        (Stray, "sends .'nobody/tensor'. beside the model, for none of its rules"),
        (Asking, "a client cannot do what it asks in round 1: the strategy sends no mean"),
        (Needing, "needs .'temperature'., which no client reports"),
        (Unnamed, "the field name of its Config has no description"),
        (Untold, "Untold has no docstring"),
    ],
)
def test_a_breach_is_found(broken: type[FoldingStrategy], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_strategy(broken)
