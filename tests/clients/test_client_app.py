from collections.abc import Callable

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict

from clients import ClientRuntime, make_client_app
from fedssl.asked import Asked
from fedssl.state import federated_state
from simulations.engines import flower_private
from simulations.experiment import Experiment
from simulations.prepare import prepare
from strategies.ldawa import divergence
from strategies.messages import to_record, to_state
from tests.fedssl.blueprints import blueprint


def context(client: int) -> Context:
    return Context(1, client + 1, {"partition-id": client}, RecordDict(), {})


def message(arrays: dict[str, torch.Tensor], **config: int) -> Message:
    flower_private.become_server()
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
    app, own = make_client_app(lambda _: runtime), context(1)
    flower_private.become_server()
    local = [name for name in arrays if name.startswith("predictor.")]
    asked = Asked(local=tuple(local), withheld=("encoder.layers.0.weight",), sensitivity_decay=0.5)
    sent = {name: tensor for name, tensor in arrays.items() if name not in local}
    config = ConfigRecord({"server-round": 1, "divergence": True, **asked.to_config()})
    content = RecordDict({"arrays": to_record(sent), "config": config})
    reply = app(Message(content, 1, "train"), own)
    came = to_state(reply.content.array_records["arrays"])
    assert sent.keys() - came.keys() == {"encoder.layers.0.weight"}
    assert came.keys() < sent.keys()
    metrics = reply.content.metric_records["metrics"]
    divergences, sensitivities = metrics["divergence"], metrics["sensitivity"]
    assert isinstance(divergences, list)
    assert isinstance(sensitivities, list)
    assert len(divergences) == len(divergence(sent, sent))
    assert len(sensitivities) == len(list(runtime.worker()._trained_names))
    kept = own.state.array_records["private"]
    assert {name for name in kept if name.startswith("own ")} == {f"own {name}" for name in local}


def test_what_a_strategy_asks_for_in_vain_is_an_error(
    runtime: ClientRuntime, arrays: dict[str, torch.Tensor]
) -> None:
    app = make_client_app(lambda _: runtime)
    with pytest.raises(ValueError, match="dropout-rate"):
        app(message(arrays, **{"server-round": 1, "dropout-rate": 1}), context(0))
