from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from ray import cloudpickle
from torch import Tensor

from clients import ClientRuntime, make_client_app
from clients.flower_adapter.messages import become_server
from fedssl.base.allocator import ALIGNMENT
from fedssl.modalities.image.data.on_demand import Fitted
from fedssl.model_state import State, federated_state
from simulations import Experiment
from simulations.engines.ray_worker import (
    MakeClientApp,
    Model,
    pack,
    pack_model,
    unpack,
    unpack_model,
)
from simulations.setup.prepare import prepare
from strategies.messages import arrays_of, to_record, to_state
from tests.tools.blueprints import blueprint

CPU = torch.device("cpu")


def test_records_cross_with_the_same_bits_in_memory_of_their_own() -> None:
    draws = torch.Generator().manual_seed(0)
    state = {
        "weight": torch.randn(3, 5, generator=draws),
        "turned": torch.randn(3, 5, generator=draws).T,
        "double": torch.randn(7, generator=draws, dtype=torch.float64),
        "count": torch.tensor(2**40 + 1),
        "none": torch.empty(0, 4),
    }
    sent = RecordDict(
        {
            "own": ConfigRecord({"rounds": 2, "name": "x"}),
            "metrics": MetricRecord({"loss": 0.5, "deltas": [0.25, 1.0]}),
            "nothing": ArrayRecord(),
        }
    )
    sent["arrays"] = to_record(state)
    packed = pack(sent)
    got = unpack(packed, CPU)
    assert got["own"] == sent["own"]
    assert got["metrics"] == sent["metrics"]
    assert got["nothing"] == ArrayRecord()
    crossed = packed["arrays"]
    assert isinstance(crossed, Model)
    for name, tensor in to_state(arrays_of(got)).items():
        assert torch.equal(tensor, state[name])
        assert tensor.dtype == state[name].dtype
        if tensor.numel():
            assert tensor.data_ptr() % ALIGNMENT == 0
            assert not np.shares_memory(tensor.numpy(), crossed.memory)


def test_read_only_memory_is_taken_without_a_warning() -> None:
    model = pack_model(to_record({"a": torch.ones(3)}))
    model.memory.flags.writeable = False
    taken = to_state(unpack_model(model, CPU))["a"]
    taken += 1
    assert taken.tolist() == [2, 2, 2]


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_an_app_made_in_another_process_trains_as_one_made_here(
    small: Callable[..., Experiment], photos: Path, in_memory: str
) -> None:
    data = f"data={{name: folder, train: {photos}, size: 16, in_memory: {in_memory}}}"
    prepared = prepare(small(data))
    experiment, train = prepared.experiment, prepared.splits.train
    in_file = isinstance(train.examples, Fitted)
    assert in_file == (in_memory == "false")
    examples = train.examples.numpy() if isinstance(train.examples, Tensor) else train.examples
    make = MakeClientApp(experiment, examples, train.labels.numpy(), prepared.partition, "cpu")
    sent = cloudpickle.dumps(make)  # type: ignore[no-untyped-call]
    assert not in_file or len(sent) < train.examples.shape[0] * 16 * 16 * 3
    there = cloudpickle.loads(sent)()
    runtime = ClientRuntime(experiment, train, prepared.partition, CPU)
    here = make_client_app(lambda _: runtime)
    model = federated_state(blueprint(experiment, 16).build())
    become_server()

    def train_by(app: Callable[[Message, Context], Message]) -> State:
        content = RecordDict({"config": ConfigRecord({"server-round": 1})})
        content["arrays"] = to_record(model)
        context = Context(1, 2, {"partition-id": 1}, RecordDict(), {})
        return to_state(arrays_of(app(Message(content, 2, "train"), context).content))

    states = train_by(there), train_by(here)
    assert any(not torch.equal(states[0][name], model[name]) for name in model)
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name])
