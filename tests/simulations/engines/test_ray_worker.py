import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedssl.memory import ALIGNMENT
from simulations.engines.ray_worker import pack, pack_arrays, unpack, unpack_arrays
from strategies.messages import arrays_of, to_record, to_state

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
    arrays = packed["arrays"]
    assert isinstance(arrays, dict)
    for name, tensor in to_state(arrays_of(got)).items():
        assert torch.equal(tensor, state[name])
        assert tensor.dtype == state[name].dtype
        if tensor.numel():
            assert tensor.data_ptr() % ALIGNMENT == 0
            assert not np.shares_memory(tensor.numpy(), arrays[name])


def test_read_only_arrays_are_taken_without_a_warning() -> None:
    arrays = pack_arrays(to_record({"a": torch.ones(3)}))
    arrays["a"].flags.writeable = False
    taken = to_state(unpack_arrays(arrays, CPU))["a"]
    taken += 1
    assert taken.tolist() == [2, 2, 2]
