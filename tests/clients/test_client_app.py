import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict

from clients import ClientRuntime, make_client_app
from clients.flower_adapter.messages import become_server
from fedssl.client_rules import CLIENT_RULES, ClientRuleConfig
from fedssl.client_rules.fedx import CrossDistillation
from fedssl.client_rules.scaffold import ControlVariates
from fedssl.client_rules.sensitivity import Sensitivity
from fedssl.model_state import federated_state, parameter_names, tensor_roles
from fedssl.training.instructions import Instructions
from fedssl.training.transmission import TransmissionPlan
from simulations.settings.experiment import Experiment
from simulations.setup.prepare import prepare
from strategies.divergence import divergence
from strategies.messages import arrays_of, extra_of, metrics_of, to_record, to_state
from tests.tools import custom_rules
from tests.tools.blueprints import blueprint


def context(client: int) -> Context:
    return Context(1, client + 1, {"partition-id": client}, RecordDict(), {})


def message(arrays: dict[str, torch.Tensor], **config: int) -> Message:
    become_server()
    records = RecordDict({"arrays": to_record(arrays), "config": ConfigRecord({**config})})
    return Message(records, 1, "train")


@pytest.fixture
def runtime(small: Callable[..., Experiment]) -> ClientRuntime:
    prepared = prepare(small())
    return ClientRuntime(
        prepared.experiment, prepared.splits.train, prepared.partition, torch.device("cpu")
    )


@pytest.fixture
def arrays(small: Callable[..., Experiment]) -> dict[str, torch.Tensor]:
    return federated_state(blueprint(small(), 16).build())


def test_the_reply_holds_weights_counts_and_scalars_and_nothing_private(
    runtime: ClientRuntime, arrays: dict[str, torch.Tensor]
) -> None:
    own = context(1)
    app = make_client_app(lambda _: runtime)
    reply = app(message(arrays, **{"server-round": 1, "divergence": True}), own)
    assert set(reply.content) == {"arrays", "metrics"}
    trained = to_state(reply.content.array_records["arrays"])
    assert trained.keys() == arrays.keys()
    assert not any(name.startswith("target.") for name in trained)
    metrics = reply.content.metric_records["metrics"]
    scalars = {"num-examples", "train-loss", "chance-loss", "num-steps", "seconds"}
    assert set(metrics) == scalars | {"divergence"}
    assert (metrics["num-examples"], metrics["num-steps"]) == (12, 2)
    assert metrics["divergence"] == list(divergence(arrays, trained).values())
    assert all(name.startswith("target.") for name in own.state.array_records["private"])


def test_divergence_is_reported_only_where_it_is_asked_for(
    runtime: ClientRuntime, arrays: dict[str, torch.Tensor]
) -> None:
    app = make_client_app(lambda _: runtime)
    reply = app(message(arrays, **{"server-round": 1, "divergence": False}), context(1))
    assert "divergence" not in reply.content.metric_records["metrics"]


def test_what_came_in_stays_and_what_went_out_is_not_trained_any_further(
    runtime: ClientRuntime, arrays: dict[str, torch.Tensor]
) -> None:
    app = make_client_app(lambda _: runtime)
    before = {name: tensor.clone() for name, tensor in arrays.items()}
    first = app(message(arrays, **{"server-round": 1}), context(1))
    trained = to_state(first.content.array_records["arrays"])
    kept = {name: tensor.clone() for name, tensor in trained.items()}
    second = app(message(arrays, **{"server-round": 1}), context(0))
    other = to_state(second.content.array_records["arrays"])
    assert all(torch.equal(arrays[name], before[name]) for name in arrays)
    assert all(torch.equal(trained[name], kept[name]) for name in arrays)
    assert not any(torch.equal(trained[n], other[n]) for n in arrays if n.endswith("weight"))


def test_what_is_local_or_withheld_is_not_in_the_reply(
    runtime: ClientRuntime, arrays: dict[str, torch.Tensor]
) -> None:
    app, about = make_client_app(lambda _: runtime), context(1)
    become_server()
    local = [name for name in arrays if name.startswith("predictor.")]
    instructions = Instructions(
        TransmissionPlan(local=tuple(local), withheld=("encoder.layers.0.weight",)),
        (Sensitivity.Config(decay=0.5),),
    )
    sent = {name: tensor for name, tensor in arrays.items() if name not in local}
    config = ConfigRecord({"server-round": 1, "divergence": True, **instructions.to_config()})
    content = RecordDict({"arrays": to_record(sent), "config": config})
    reply = app(Message(content, 1, "train"), about)
    came = to_state(reply.content.array_records["arrays"])
    assert sent.keys() - came.keys() == {"encoder.layers.0.weight"}
    assert came.keys() < sent.keys()
    metrics = reply.content.metric_records["metrics"]
    divergences, sensitivities = metrics["divergence"], metrics["sensitivity/omega"]
    assert isinstance(divergences, list)
    assert isinstance(sensitivities, list)
    assert len(divergences) == len(divergence(sent, sent))
    assert len(sensitivities) == len(runtime.worker()._trainable_names.keys() - set(local))
    kept = about.state.array_records["private"]
    assert {name for name in kept if name.startswith("own ")} == {f"own {name}" for name in local}


def test_what_a_strategy_asks_for_in_vain_is_an_error(
    runtime: ClientRuntime, arrays: dict[str, torch.Tensor]
) -> None:
    app = make_client_app(lambda _: runtime)
    with pytest.raises(ValueError, match="dropout-rate"):
        app(message(arrays, **{"server-round": 1, "dropout-rate": 1}), context(0))


def told(
    arrays: dict[str, torch.Tensor],
    *rules: ClientRuleConfig,
    round: int = 1,
    extra: dict[str, torch.Tensor] | None = None,
) -> Message:
    become_server()
    said = Instructions(rules=rules).to_config()
    config = ConfigRecord({"server-round": round, **said})
    beside = {"extra": to_record(extra)} if extra else {}
    return Message(
        RecordDict({"arrays": to_record(arrays), **beside, "config": config}), 1, "train"
    )


PLAIN = {"num-examples", "train-loss", "chance-loss", "num-steps", "seconds"}
SMALL = custom_rules.Small.Config()
RULES = [*(CLIENT_RULES[name].Config(name=name) for name in CLIENT_RULES), SMALL]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_nothing_leaves_a_client_but_what_its_rule_declares(
    small: Callable[..., Experiment],
    runtime: ClientRuntime,
    arrays: dict[str, torch.Tensor],
    rule: ClientRuleConfig,
) -> None:
    parts = tensor_roles(blueprint(small(), 16).build())
    app, about = make_client_app(lambda _: runtime), context(1)
    named = parameter_names(arrays, parts.buffers)
    extra: dict[str, torch.Tensor] = {}
    metrics: set[str] = set()
    expected: dict[str, torch.Size] = {}
    if isinstance(rule, ControlVariates.Config):
        extra = {f"scaffold/{name}": torch.zeros_like(arrays[name]) for name in named}
        expected = {name: tensor.shape for name, tensor in extra.items()}
    elif isinstance(rule, CrossDistillation.Config):
        weight, bias = torch.Size([8, 8]), torch.Size([8])
        layers = ("fedx/0.weight", "fedx/0.bias", "fedx/2.weight", "fedx/2.bias")
        expected = dict(zip(layers, (weight, bias) * 2, strict=True))
    elif isinstance(rule, Sensitivity.Config):
        metrics = {"sensitivity/omega"}
    elif rule is SMALL:
        metrics = {f"{rule.name}/size", f"{rule.name}/steps"}
        expected = {f"{rule.name}/sum": torch.Size([1])}
    for round in (1, 2):
        reply = app(told(arrays, rule, round=round, extra=extra), about)
        content = reply.content
        assert set(content) == {"arrays", "metrics", *(["extra"] if expected else [])}
        assert to_state(arrays_of(content)).keys() == arrays.keys()
        assert set(metrics_of(content)) == PLAIN | metrics
        sent = to_state(extra_of(content))
        assert {name: tensor.shape for name, tensor in sent.items()} == expected
        # As on the next round's way down.
        extra = sent
        # What is remembered stays, and is told from the objective's own by a space.
        kept = set(to_state(arrays_of(about.state, "private")))
        assert all(n.startswith(("target.", "last round", f"rule {rule.name} ")) for n in kept)
        assert not kept & (arrays.keys() | sent.keys())


def test_a_rule_that_would_send_more_than_it_declares_ends_the_round(
    runtime: ClientRuntime, arrays: dict[str, torch.Tensor]
) -> None:
    app, about = make_client_app(lambda _: runtime), context(1)
    for fields, what in (
        ({"metric": 0.5}, "would send the metric secret, which `declared_metrics`"),
        ({"tensor": "any"}, "would send the tensor example, which `declared_tensors`"),
    ):
        rule = custom_rules.Leaking.Config.model_validate(fields)
        with pytest.raises(ValueError, match=rf"custom_rules\.Leaking {what}"):
            app(told(arrays, rule), about)
    assert "private" not in about.state


MINE = """
from fedssl.client_rules import ClientRule, ClientRuleConfig

class Mine(ClientRule):
    class Config(ClientRuleConfig):
        name: str = "mine"

    def metrics(self, update):
        return {"steps": update.steps}

    def declared_metrics(self, model, parts):
        from fedssl.client_rules import ReportedMetric
        return {"steps": ReportedMetric(1, 99)}
"""


def test_a_rule_of_ones_own_is_imported_only_from_an_allowed_module(
    runtime: ClientRuntime,
    arrays: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "a_rule_of_mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "a_rule_of_mine.Mine"
    rule = ClientRuleConfig(name=name)
    for allowed in ((), ("mine",), ("a_rule_of",), ("a_rule_of_mine.Mine",)):
        app = make_client_app(lambda _: runtime, allowed)
        with pytest.raises(ValueError, match=rf"{name}, .*join with --allow a_rule_of_mine$"):
            app(told(arrays, rule), context(0))
        assert "a_rule_of_mine" not in sys.modules
    app = make_client_app(lambda _: runtime, ("other", "a_rule_of_mine"))
    reply = app(told(arrays, rule), context(0))
    assert metrics_of(reply.content)[f"{name}/steps"] == 2
    sys.modules.pop("a_rule_of_mine")


@pytest.mark.parametrize("text", ["", "{", json.dumps([{"name": "proximal", "mu": -1}]), "[[]]"])
def test_rules_that_make_no_sense_end_the_round_before_any_work(
    arrays: dict[str, torch.Tensor], text: str
) -> None:
    def find(about: Context) -> ClientRuntime:
        raise AssertionError("was asked for")

    sent = told(arrays)
    sent.content["config"] = ConfigRecord({"server-round": 1, "rules": text})
    with pytest.raises(ValueError, match=r"^rules"):
        make_client_app(find)(sent, context(0))
