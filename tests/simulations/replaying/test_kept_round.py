"""Replies on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import ConfigRecord, Message, MessageType, MetricRecord, RecordDict

from clients.flower_adapter.error_replies import error_reply
from clients.flower_adapter.messages import become_server, number_message
from fedssl.base.config_file import ConfigError
from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.fedx import CrossDistillation
from fedssl.client_rules.scaffold import ControlVariates
from fedssl.client_rules.sensitivity import Sensitivity
from fedssl.model_state import save_state
from fedssl.training.instructions import rules_to_json
from simulations.record.checkpoint import Checkpoint
from simulations.replaying.kept_round import KeptRound, kept_rounds
from strategies.messages import (
    ARRAYS,
    CONFIG,
    EXTRA,
    METRICS,
    arrays_of,
    extra_of,
    metrics_of,
    to_record,
    to_state,
)

MODEL = {"a": torch.tensor([1.5, float("inf")]), "n": torch.tensor(7)}
METRICS_OF_IT: dict[str, int | float | list[int] | list[float]] = {
    "num-examples": 5,
    "train-loss": 0.1 + 0.2,
    "divergence": [0.5, 1.0],
    "sensitivity/omega": [2.0],
}
BESIDE = {"scaffold/a": torch.tensor([0.5, -0.5]), "fedx/0.bias": torch.ones(3)}
ROW = {"round": 4, "cohort": [0, 2], "failed": [2], "bytes_up": 9, "bytes_down": 9, "seconds": 0.5}
ROW |= {"train_loss": 0.3, "rankme": 2.5}


def message(client: int, **config: str | list[str]) -> Message:
    become_server()
    content = RecordDict(
        {ARRAYS: to_record(MODEL), CONFIG: ConfigRecord({"server-round": 4, **config})}
    )
    made = Message(content, client + 1, MessageType.TRAIN)
    number_message(made, "1")
    return made


@pytest.fixture
def kept_round(tmp_path: Path) -> KeptRound:
    """Round 4, in which client 2 failed."""
    made = KeptRound(tmp_path / "round-4")
    made.begin()
    content = RecordDict(
        {
            ARRAYS: to_record(MODEL),
            METRICS: MetricRecord({**METRICS_OF_IT}),
            EXTRA: to_record(BESIDE),
        }
    )
    replies = [
        made.add(0, Message(content, reply_to=message(0))),
        made.add(2, error_reply(message(2), "no room")),
    ]
    assert not made.is_complete()
    made.finish(
        Checkpoint(3, MODEL, {}, {0: MODEL}), replies, ROW, (Sensitivity.Config(decay=0.5),)
    )
    return made


def test_a_reply_comes_back_as_it_was(kept_round: KeptRound) -> None:
    answer = kept_round.answer(message(0))
    state = to_state(arrays_of(answer.content))
    assert all(torch.equal(state[name], MODEL[name]) for name in MODEL)
    # δ is of the run's own tensors, which another strategy's message may not have, and what a rule
    # reports or sends is for the strategy that has it.
    other = ("divergence", "sensitivity/omega")
    expected = {name: value for name, value in METRICS_OF_IT.items() if name not in other}
    assert EXTRA not in answer.content
    assert dict(metrics_of(answer.content)) == expected
    assert answer.metadata.src_node_id == 1
    assert (kept_round.round, kept_round.cohort, kept_round.row) == (4, [0, 2], ROW)
    assert [(client, count) for client, count, _ in kept_round.models()] == [(0, 5)]


def test_what_a_rule_sent_and_reported_comes_back_to_a_strategy_that_has_it(
    kept_round: KeptRound,
) -> None:
    cases: list[tuple[tuple[ClientRuleConfig, ...], set[str], set[str]]] = [
        ((ControlVariates.Config(),), set(), {"scaffold/a"}),
        ((CrossDistillation.Config(),), set(), {"fedx/0.bias"}),
        ((Sensitivity.Config(),), {"sensitivity/omega"}, set()),
    ]
    for rules, metrics, beside in cases:
        answer = kept_round.answer(message(0, rules=rules_to_json(rules)))
        assert {name for name in metrics_of(answer.content) if "/" in name} == metrics
        found = to_state(extra_of(answer.content))
        assert found.keys() == beside
        assert all(torch.equal(found[name], BESIDE[name]) for name in beside)


def test_it_knows_what_was_measured(kept_round: KeptRound) -> None:
    again = KeptRound(kept_round.path)
    assert again.has_metrics_of(())
    assert again.has_metrics_of((Sensitivity.Config(decay=0.5),))
    assert not again.has_metrics_of((Sensitivity.Config(decay=0.9),))


def test_another_reply_leaves_nothing_of_the_last_beside_the_model(kept_round: KeptRound) -> None:
    kept_round.begin()
    plain = RecordDict({ARRAYS: to_record(MODEL), METRICS: MetricRecord({**METRICS_OF_IT})})
    replies = [kept_round.add(0, Message(plain, reply_to=message(0)))]
    kept_round.finish(Checkpoint(3, MODEL, {}, {0: MODEL}), replies, ROW, ())
    answer = kept_round.answer(message(0, rules=rules_to_json((ControlVariates.Config(),))))
    assert EXTRA not in answer.content


def test_a_failure_comes_back_as_one(kept_round: KeptRound) -> None:
    answer = kept_round.answer(message(2))
    assert answer.has_error()
    assert answer.error.reason == "no room"


def test_what_is_not_to_be_sent_is_left_out(kept_round: KeptRound) -> None:
    answer = kept_round.answer(message(0, withheld=["a"]))
    assert list(arrays_of(answer.content)) == ["n"]


def test_what_a_reply_lacks_is_told(kept_round: KeptRound) -> None:
    asked = message(0)
    asked.content[ARRAYS] = to_record(MODEL | {"b": torch.ones(1)})
    with pytest.raises(ValueError, match=r"client 0's reply has no b, .* left on the clients"):
        kept_round.answer(asked)


def test_only_complete_rounds_are_found(kept_round: KeptRound, tmp_path: Path) -> None:
    KeptRound(tmp_path / "round-5").begin()
    assert [found.round for found in kept_rounds(tmp_path)] == [4]
    kept_round.begin()
    assert kept_rounds(tmp_path) == []


def test_a_damaged_one_is_told_with_the_way_out(kept_round: KeptRound) -> None:
    next((kept_round.path / "checkpoint").glob("model-*")).write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"damaged.*remove .*round-4"):
        kept_round.checkpoint()


def test_a_damaged_reply_is_told_with_the_way_out(kept_round: KeptRound) -> None:
    beside = kept_round.path / "replies" / "client-0-extra.safetensors"
    kept = beside.read_bytes()
    beside.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"client-0-extra.*damaged.*remove .*round-4"):
        kept_round.answer(message(0))
    beside.write_bytes(kept)
    file = kept_round.path / "replies" / "client-0.safetensors"
    file.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"client-0.*damaged.*remove .*round-4"):
        kept_round.answer(message(0))
    file.unlink()
    with pytest.raises(ConfigError, match=r"client-0.*remove .*round-4"):
        next(kept_round.models())


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda index: index.pop("replies"), "replies"),
        (lambda index: index.update(round="4"), "round"),
        (lambda index: index.update(round=0), "round"),
        # As versions before the client rules wrote it.
        (lambda index: index.update(sensitivity_decay=index.pop("measuring")), "measuring"),
        (lambda index: index.update(measuring="x"), "measuring"),
        (lambda index: index.update(measuring=["x"]), "measuring"),
        (lambda index: index["replies"][0].update(client="../../etc/passwd"), "client"),
        (lambda index: index["replies"][1].update(client=0), "a client is listed twice"),
        (lambda index: index["replies"][0].update(metrics={}), "num-examples = None"),
        (lambda index: index["replies"][0]["metrics"].update({"num-examples": 1.5}), "num-exam"),
        (lambda index: index["replies"][0].pop("metrics"), "no client succeeded"),
        (lambda index: index["row"].update(seconds="x"), "seconds = 'x'"),
        (lambda index: index["row"].pop("rankme"), "has no RankMe"),
        (lambda index: index.update(row=[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]), "nested more than"),
    ],
)
def test_what_is_no_index_is_told_with_the_way_out(
    kept_round: KeptRound, edit: Edit, message: str
) -> None:
    file = kept_round.path / "replies.json"
    index = json.loads(file.read_text())
    edit(index)
    file.write_text(json.dumps(index))
    again = KeptRound(kept_round.path)
    with pytest.raises(ConfigError, match=rf"replies\.json: .*{message}.*; remove .*round-4"):
        list(again.models())


def test_another_models_reply_or_another_rounds_checkpoint_is_told(kept_round: KeptRound) -> None:
    save_state(kept_round.path / "replies" / "client-0.safetensors", {"a": torch.ones(3)}, {})
    with pytest.raises(ConfigError, match=r"client-0.*: a is not the model's; remove .*round-4"):
        next(KeptRound(kept_round.path).models())
    index = json.loads((kept_round.path / "replies.json").read_text())
    (kept_round.path / "replies.json").write_text(json.dumps(index | {"round": 7}))
    with pytest.raises(ConfigError, match=r"another round's checkpoint; remove .*round-4"):
        KeptRound(kept_round.path).checkpoint()
