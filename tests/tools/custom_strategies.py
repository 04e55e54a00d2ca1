"""Strategies of a person's own, whose clients follow rules."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.scaffold import ControlVariates
from fedssl.model_state import State
from strategies import FedAvg
from strategies.fold import ExampleMean, Fold, UpdateSummary
from strategies.server_step import ServerStep
from tests.tools import custom_rules

HEARD: list[int] = []
"""How many clients sent something beside the model, merge by merge."""


SEEN: list[tuple[int, ...]] = []
"""The shapes of the examples that the server learned from, round by round."""


class Mine(FedAvg):
    """Has clients follow a rule of one's own."""

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        return (custom_rules.Small.Config(weight=0.5),)


class Sending(FedAvg):
    """Sends clients a tensor for each parameter, and gets one of each."""

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        return (ControlVariates.Config(),)

    def extra(self, server_round: int, global_state: Mapping[str, Tensor]) -> State:
        return {
            f"scaffold/{name}": torch.zeros_like(tensor)
            for name, tensor in global_state.items()
            if tensor.is_floating_point() and "running" not in name
        }

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        return _Listening(global_state)


class _Listening(ExampleMean):
    def __init__(self, global_state: Mapping[str, Tensor]):
        super().__init__(global_state)
        self._heard = 0

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        super().add(state, summary)
        self._heard += bool(summary.extra)

    def result(self) -> dict[str, Tensor]:
        HEARD.append(self._heard)
        return super().result()


class Teaching(FedAvg):
    """Its server takes a step of its own, on examples of its own, from round to round longer."""

    requires_server_examples = True
    _rounds = 0

    def after_fold(self, step: ServerStep) -> State:
        assert step.examples is not None
        objective = step.examples.objective(step.merged)
        examples = step.examples.draw(8, "teaching", step.round)
        SEEN.append(tuple(examples.shape))
        views = step.examples.blueprint.views(
            examples, step.examples.generator("teaching", step.round)
        )
        objective.encoder(views).square().mean().backward()
        self._rounds += 1
        name = next(n for n in step.merged if n.startswith("encoder.layers.0"))
        gradient = dict(objective.named_parameters())[name].grad
        assert gradient is not None
        return {**step.merged, name: step.merged[name] - self._rounds * 0.01 * gradient}

    def state_dict(self) -> dict[str, Tensor]:
        return {"rounds": torch.tensor(self._rounds)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._rounds = int(state["rounds"]) if state else 0
