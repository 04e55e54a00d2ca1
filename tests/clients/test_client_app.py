from collections.abc import Callable

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict

from clients import ClientRuntime, make_client_app
from fedssl.local_update import build_objective
from fedssl.state import federated_state
from simulations.engines import flower_private
from simulations.experiment import Experiment
from simulations.prepare import prepare
from strategies.ldawa import divergence
from strategies.messages import to_record, to_state


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
    return federated_state(build_objective(small(), 16))


def test_the_reply_holds_weights_counts_and_scalars_and_nothing_private(
    runtime: ClientRuntime, arrays: dict[str, torch.Tensor]
) -> None:
    own = context(1)
    app = make_client_app(lambda _: runtime)
    reply = app(message(arrays, **{"server-round": 1}), own)
    assert set(reply.content) == {"arrays", "metrics"}
    trained = to_state(reply.content.array_records["arrays"])
    assert trained.keys() == arrays.keys()
    assert not any(name.startswith("target.") for name in trained)
    metrics = reply.content.metric_records["metrics"]
    assert set(metrics) == {"num-examples", "train-loss", "seconds", "divergence"}
    assert metrics["num-examples"] == 12
    assert metrics["divergence"] == list(divergence(arrays, trained).values())
    assert all(name.startswith("target.") for name in own.state.array_records["private"])


def test_what_a_strategy_asks_for_in_vain_is_an_error(
    runtime: ClientRuntime, arrays: dict[str, torch.Tensor]
) -> None:
    app = make_client_app(lambda _: runtime)
    with pytest.raises(ValueError, match="proximal-mu"):
        app(message(arrays, **{"server-round": 1, "proximal-mu": 1}), context(0))
