"""What strategies have their clients do, and what they do with what they are told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from flwr.app import ConfigRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedssl.client_rules import CLIENT_RULES, ClientRule, ClientRuleConfig
from fedssl.client_rules.fedema import Mixture
from fedssl.client_rules.fedu import KeepPredictor
from fedssl.client_rules.moon import ModelContrast
from fedssl.client_rules.proximal import Proximal
from fedssl.client_rules.scaffold import ControlVariates
from fedssl.client_rules.sensitivity import Sensitivity
from fedssl.model_state import TensorRoles
from fedssl.training.instructions import Instructions
from fedssl.training.transmission import TransmissionPlan
from strategies import FedAvg, FedLAMA, FoldingStrategy, Stateful, build
from strategies.base import build_instructions, shared_state
from strategies.fedlama import slow_layers
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
from tests.tools.tensors import assert_states_close

quick = settings(deadline=None, max_examples=12)
CONV, HEAD = "encoder.conv.weight", "projector.weight"
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


def pass_on(node: int, state: State) -> State:
    return state


def test_without_batchnorm_there_is_nothing_for_fedbn() -> None:
    with pytest.raises(ValueError, match="no BatchNorm"):
        build(read_strategy(name="fedbn"), TensorRoles())


# Schedules


def scheduled(
    name: str, **fields: object
) -> Callable[[int], tuple[tuple[str, ...], TransmissionPlan]]:
    """From a round to the tensors that come back, and the plan."""
    strategy = make_strategy(name, **fields)

    def at(server_round: int) -> tuple[tuple[str, ...], TransmissionPlan]:
        plan = build_instructions(strategy, server_round, model(77)).transmission
        return tuple(n for n in NAMES.values() if n not in plan.absent_from_reply), plan

    return at


def test_a_table_says_in_which_rounds_a_layer_comes_back() -> None:
    every = {"encoder": 2, "encoder.conv": 3, "projector": 0}
    at = scheduled("layer-schedule", every=every)
    for server_round in range(1, 14):
        back, plan = at(server_round)
        merged = dict(zip(plan.scheduled, plan.merged, strict=True))
        for name in NAMES.values():
            conv, encoder = name.startswith("encoder.conv."), name.startswith("encoder.")
            n = 3 if conv else 2 if encoder else 0 if name == HEAD else 1
            assert (name in back) == (n > 0 and server_round % n == 0)
            assert (name in plan.local) == (n == 0)
            earlier = [r for r in range(1, server_round) if n and r % n == 0]
            assert merged.get(name) == (None if n < 2 else max(earlier, default=0))


def test_entries_of_a_table_end_at_dots() -> None:
    with pytest.raises(ValueError, match=r"every\.encoder\.con: the model has no such layer"):
        make_strategy("layer-schedule", every={"encoder.con": 2})


def naive_slow(discrepancies: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Algorithm 2, line by line."""
    layers = sorted(range(len(sizes)), key=lambda i: discrepancies[i] / sizes[i])
    slow: list[int] = []
    for end in range(1, len(layers) + 1):
        first = layers[:end]
        delta = sum(discrepancies[i] for i in first) / sum(discrepancies)
        left = 1 - sum(sizes[i] for i in first) / sum(sizes)
        slow.append(layers[end - 1])
        if left < delta:
            return slow
    return slow


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(1, 10_000)), min_size=1, max_size=8))
def test_slow_layers_by_the_published_algorithm(layers: list[tuple[float, int]]) -> None:
    discrepancies, sizes = zip(*layers, strict=True)
    assert slow_layers(discrepancies, sizes) == naive_slow(discrepancies, sizes)


def test_where_clients_agree_on_everything_nothing_is_slow() -> None:
    assert slow_layers([0.0, 0.0], [3, 5]) == []


def test_fedlama_slows_the_layer_on_which_clients_agree_and_looks_again() -> None:
    strategy, g = make_strategy("fedlama", factor=2), model(77)
    assert isinstance(strategy, FedLAMA)

    def answers(spread: float) -> list[Client]:
        clients = [Client(dict(g)) for _ in range(3)]
        for place, client in enumerate(clients):
            client.state[CONV] = g[CONV] + spread * place
            client.state[HEAD] = g[HEAD] + place
        return clients

    def after(server_round: int, spread: float) -> set[str]:
        play_round(strategy, g, answers(spread), server_round)
        return set(strategy.slow)

    assert after(1, 0.9) == set()
    # With the convolution, on which clients agree more, 93 % of the weights are slow.
    assert after(2, 0.9) == {CONV}
    plan = strategy.plan(3, g)
    assert (plan.scheduled, plan.merged, plan.withheld) == ((CONV,), (2,), (CONV,))
    assert after(3, 2.0) == {CONV}
    assert strategy.plan(4, g).withheld == ()
    # Over two rounds, so half of 4 a round; the head alone is few weights, so both are slow.
    assert after(4, 2.0) == {CONV, HEAD}
    assert isinstance(strategy, Stateful)
    restored = make_strategy("fedlama", factor=2)
    assert isinstance(restored, FedLAMA)
    restored.load_state_dict(strategy.state_dict())
    assert restored.plan(5, g) == strategy.plan(5, g)


@quick
@given(answers=cohorts)
def test_fedlama_measures_the_clients_distance_from_their_mean(answers: list[Client]) -> None:
    strategy, g = make_strategy("fedlama", factor=1), model(77)
    told: dict[str, float] = {}
    assert isinstance(strategy, FedLAMA)
    strategy.adapt = lambda spread, sizes: told.update(spread)  # type: ignore[method-assign]
    merged = play_round(strategy, g, answers)
    assert_states_close(merged, mean(answers))
    total = sum(a.examples for a in answers)
    assert told.keys() == {CONV, HEAD}
    for name, spread in told.items():
        squares = [
            a.examples / total * float((a.state[name] - merged[name]).double().square().sum())
            for a in answers
        ]
        assert spread == pytest.approx(sum(squares), rel=1e-3, abs=1e-3)


# What clients tell


@quick
@given(answers=cohorts, steps=st.integers(1, 50))
def test_with_equal_steps_fednova_is_fedavg(answers: list[Client], steps: int) -> None:
    equal = [replace(a, steps=steps) for a in answers]
    assert_states_close(play_round(make_strategy("fednova"), model(77), equal), mean(equal))


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


def test_a_tensor_that_was_withheld_but_came_is_refused() -> None:
    strategy, g = make_strategy("layer-schedule", every={"projector": 2}), model(77)
    assert isinstance(strategy, FoldingStrategy)
    assert HEAD in shared_state(strategy, g)
    strategy.configure_train(1, to_record(g), ConfigRecord(), FakeGrid([1], pass_on))
    fold = strategy.start_fold(1, strategy._expected_tensors)
    with pytest.raises(ValueError, match=f"unexpected tensor {HEAD}"):
        fold.add(g, UpdateSummary(1))


names = st.lists(st.text("abc.", min_size=1), unique=True, max_size=3).map(tuple)


def near_its_defaults(rule: type[ClientRule]) -> st.SearchStrategy[ClientRuleConfig]:
    """Draw numbers for a rule that are a little below its defaults."""
    drawn = {
        name: st.floats(0.9 * field.default, field.default)
        for name, field in rule.Config.model_fields.items()
        if isinstance(field.default, float)
    }
    return st.builds(rule.Config, **drawn)


each_rule = [near_its_defaults(rule) for rule in CLIENT_RULES.values()]
plans = st.builds(
    TransmissionPlan,
    local=names,
    scheduled=st.just(("a", "b")),
    merged=st.just((0, 3)),
    withheld=names,
)


@given(
    plan=st.just(TransmissionPlan()) | plans,
    rules=st.lists(st.one_of(each_rule), unique_by=lambda rule: rule.name).map(tuple),
)
def test_a_messages_config_carries_it(
    plan: TransmissionPlan, rules: tuple[ClientRuleConfig, ...]
) -> None:
    instructions = Instructions(plan, rules)
    record = ConfigRecord({**instructions.to_config()})
    back = Instructions.from_config(dict(record))
    assert back == instructions
    assert [type(rule) for rule in back.rules] == [type(rule) for rule in rules]
    built = back.build_rules()
    assert [rule.config for rule in built] == list(rules)
    assert [type(rule) for rule in built] == [CLIENT_RULES[rule.name] for rule in rules]
