"""Replies on disk."""

from pathlib import Path

import pytest
import torch
from flwr.app import ConfigRecord, Message, MessageType, MetricRecord, RecordDict

from fedssl.config_file import ConfigError
from simulations.checkpoint import Checkpoint
from simulations.engines import flower_private
from simulations.replaying.moment import Moment, moments
from strategies.messages import ARRAYS, CONFIG, METRICS, arrays_of, metrics_of, to_record, to_state

MODEL = {"a": torch.tensor([1.5, float("inf")]), "n": torch.tensor(7)}
METRICS_OF_IT: dict[str, int | float | list[int] | list[float]] = {
    "num-examples": 5,
    "train-loss": 0.1 + 0.2,
    "divergence": [0.5, 1.0],
}


def message(client: int, **config: list[str]) -> Message:
    flower_private.become_server()
    content = RecordDict(
        {ARRAYS: to_record(MODEL), CONFIG: ConfigRecord({"server-round": 4, **config})}
    )
    made = Message(content, client + 1, MessageType.TRAIN)
    flower_private.number(made, "1")
    return made


@pytest.fixture
def moment(tmp_path: Path) -> Moment:
    """Round 4, in which client 2 failed."""
    made = Moment(tmp_path / "round-4")
    made.begin()
    content = RecordDict({ARRAYS: to_record(MODEL), METRICS: MetricRecord({**METRICS_OF_IT})})
    replies = [
        made.add(0, Message(content, reply_to=message(0))),
        made.add(2, flower_private.error_reply(message(2), "no room")),
    ]
    assert not made.is_whole()
    made.finish(Checkpoint(3, MODEL, {}, {0: MODEL}), replies, {"train_loss": 0.3}, None)
    return made


def test_a_reply_comes_back_as_it_was(moment: Moment) -> None:
    answer = moment.answer(message(0))
    state = to_state(arrays_of(answer.content))
    assert all(torch.equal(state[name], MODEL[name]) for name in MODEL)
    # δ is of the run's own tensors, which another strategy's message may not have.
    expected = {name: value for name, value in METRICS_OF_IT.items() if name != "divergence"}
    assert dict(metrics_of(answer.content)) == expected
    assert answer.metadata.src_node_id == 1
    assert (moment.round, moment.cohort, moment.row) == (4, [0, 2], {"train_loss": 0.3})
    assert [(client, count) for client, count, _ in moment.models()] == [(0, 5)]


def test_a_failure_comes_back_as_one(moment: Moment) -> None:
    answer = moment.answer(message(2))
    assert answer.has_error()
    assert answer.error.reason == "no room"


def test_what_is_not_to_be_sent_is_left_out(moment: Moment) -> None:
    answer = moment.answer(message(0, withheld=["a"]))
    assert list(arrays_of(answer.content)) == ["n"]


def test_what_a_reply_lacks_is_told(moment: Moment) -> None:
    asked = message(0)
    asked.content[ARRAYS] = to_record(MODEL | {"b": torch.ones(1)})
    with pytest.raises(ValueError, match=r"client 0's reply has no b, .* left on the clients"):
        moment.answer(asked)


def test_only_whole_moments_are_found(moment: Moment, tmp_path: Path) -> None:
    Moment(tmp_path / "round-5").begin()
    assert [found.round for found in moments(tmp_path)] == [4]
    moment.begin()
    assert moments(tmp_path) == []


def test_a_damaged_one_is_told_with_the_way_out(moment: Moment) -> None:
    next((moment.path / "checkpoint").glob("model-*")).write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"damaged.*remove .*round-4"):
        moment.before()


def test_a_damaged_reply_is_told_with_the_way_out(moment: Moment) -> None:
    file = next((moment.path / "replies").iterdir())
    file.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"client-0.*damaged.*remove .*round-4"):
        moment.answer(message(0))
    file.unlink()
    with pytest.raises(ConfigError, match=r"client-0.*remove .*round-4"):
        next(moment.models())
