"""What strategies have their clients do, and what they do with what they are told."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from flwr.app import ConfigRecord
from hypothesis import given, settings
from torch import Tensor

from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.fedema import Mixture
from fedssl.client_rules.fedu import KeepPredictor
from fedssl.client_rules.moon import ModelContrast
from fedssl.client_rules.proximal import Proximal
from fedssl.client_rules.scaffold import ControlVariates
from fedssl.client_rules.sensitivity import Sensitivity
from fedssl.model_state import TensorRoles
from fedssl.training.instructions import Instructions
from fedssl.training.transmission import TransmissionPlan
from strategies import FedAvg, FoldingStrategy, build
from strategies.base import build_instructions, shared_state
from strategies.fold import UpdateSummary
from strategies.messages import arrays_of, config_of, extra_of, to_record, to_state
from tests.strategies.naive import mean
from tests.tools.fake_grid import FakeGrid
from tests.tools.strategy_models import State
from tests.tools.strategy_rounds import (
    NAMES,
    PARTS,
    Client,
    cohorts,
    make_strategy,
    model,
    play_round,
    read_strategy,
)
from tests.tools.strategy_updates import pass_on
from tests.tools.tensors import assert_states_close

quick = settings(deadline=None, max_examples=12)
CONV = "encoder.conv.weight"
HEADS = ("projector.weight", "predictor.temperature")
NORMS = tuple(name for name in NAMES.values() if name in PARTS.batchnorm_names)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("fedavg", {}, Instructions()),
        ("fedprox", {"mu": 0.25}, Instructions(rules=(Proximal.Config(mu=0.25),))),
        ("moon", {"mu": 2.0}, Instructions(rules=(ModelContrast.Config(mu=2.0, temperature=0.5),))),
        ("fedu", {}, Instructions(rules=(KeepPredictor.Config(threshold=0.4),))),
        ("fedema", {}, Instructions(rules=(Mixture.Config(tau=0.7),))),
        ("fedbn", {}, Instructions(TransmissionPlan(local=NORMS))),
        ("encoder-only", {}, Instructions(TransmissionPlan(local=HEADS))),
        ("fedvssl", {}, Instructions(TransmissionPlan(local=HEADS))),
        ("elastic", {}, Instructions(rules=(Sensitivity.Config(decay=0.95),))),
    ],
)
def test_a_message_names_what_clients_do_with_its_numbers_and_lacks_what_is_local(
    name: str, fields: dict[str, object], expected: Instructions
) -> None:
    g = model(77)
    strategy = make_strategy(name, **fields)
    messages = strategy.configure_train(3, to_record(g), ConfigRecord(), FakeGrid([4, 9], pass_on))
    for message in messages:
        config = dict(config_of(message.content))
        assert config.pop("server-round") == 3
        assert Instructions.from_config(config) == expected
        assert list(arrays_of(message.content)) == [
            n for n in g if n not in expected.transmission.local
        ]
        assert set(message.content) == {"arrays", "config"}
    assert build_instructions(strategy, 3, g) == expected


class Giving(FedAvg):
    """Sends a tensor beside the model, for a rule."""

    def rules(self, server_round: int) -> tuple[ClientRuleConfig, ...]:
        return (ControlVariates.Config(),)

    def extra(self, server_round: int, global_state: Mapping[str, Tensor]) -> State:
        return {f"scaffold/{CONV}": torch.full((2,), float(server_round))}


def test_what_a_strategy_sends_beside_the_model_is_in_one_record_of_all_messages() -> None:
    messages = Giving().configure_train(
        3, to_record(model(77)), ConfigRecord(), FakeGrid([4, 9], pass_on)
    )
    records = [message.content["extra"] for message in messages]
    assert records[0] is records[1]
    assert extra_of(messages[0].content) is records[0]
    (name, tensor), *more = to_state(extra_of(messages[0].content)).items()
    assert (name, tensor.tolist(), more) == (f"scaffold/{CONV}", [3.0, 3.0], [])


def test_without_batchnorm_there_is_nothing_for_fedbn() -> None:
    with pytest.raises(ValueError, match="no BatchNorm"):
        build(read_strategy(name="fedbn"), TensorRoles())


# Schedules


# What clients tell


@quick
@given(answers=cohorts)
def test_where_no_embedding_depends_on_it_a_layer_takes_the_mean(answers: list[Client]) -> None:
    blind = [replace(a, sensitivity=[0.0] * len(a.sensitivity)) for a in answers]
    assert_states_close(play_round(make_strategy("elastic"), model(77), blind), mean(blind))


@pytest.mark.parametrize(
    ("name", "client", "message"),
    [
        ("fednova", Client(model(1), steps=0), "num-steps is 0"),
        ("elastic", Client(model(1), sensitivity=[1.0]), "no list of 5 numbers"),
        ("elastic", Client(model(1), sensitivity=[-1.0] * 5), "negative"),
        ("elastic", Client(model(1), sensitivity=[float("nan")] * 5), "NaN"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, client: Client, message: str) -> None:
    with pytest.raises(ValueError, match=f"the reply of node 1: .*{message}"):
        play_round(make_strategy(name), model(77), [client])


HEAD = "projector.weight"


def test_a_tensor_that_was_withheld_but_came_is_refused() -> None:
    strategy, g = make_strategy("layer-schedule", every={"projector": 2}), model(77)
    assert isinstance(strategy, FoldingStrategy)
    assert HEAD in shared_state(strategy, g)
    strategy.configure_train(1, to_record(g), ConfigRecord(), FakeGrid([1], pass_on))
    fold = strategy.start_fold(1, strategy._expected_tensors)
    with pytest.raises(ValueError, match=f"unexpected tensor {HEAD}"):
        fold.add(g, UpdateSummary(1))
