import contextlib
import pickle

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of_numpy

from fedssl.client_rules import CLIENT_RULES, ClientRule, ClientRuleConfig
from fedssl.training.instructions import Instructions
from fedssl.training.transmission import TransmissionPlan
from strategies.messages import to_record, to_state

KINDS = st.sampled_from(["float32", "float64", "float16", "int64", "int32", "uint8", "bool"])
ARRAYS = KINDS.flatmap(
    lambda kind: arrays_of_numpy.arrays(kind, arrays_of_numpy.array_shapes(min_dims=0, min_side=0))
)


@given(ARRAYS, st.booleans())
def test_what_crossed_as_bytes_has_the_same_bits(array: np.ndarray, by_columns: bool) -> None:
    sent = np.asfortranarray(array) if by_columns else array
    (tensor,) = to_state(ArrayRecord({"a": Array(sent)})).values()
    assert tensor.numpy().dtype == array.dtype
    assert tensor.numpy().tobytes() == array.tobytes()
    tensor.add_(1) if array.dtype.kind in "iuf" else None


def test_a_tensor_that_crossed_is_ours_to_write_to() -> None:
    record = pickle.loads(pickle.dumps(to_record({"w": torch.arange(6.0).reshape(2, 3)})))
    first, second = to_state(record)["w"], to_state(record)["w"]
    first.zero_()
    assert second.tolist() == [[0, 1, 2], [3, 4, 5]]


@given(st.binary(max_size=300))
@example(b"")
@example(b"\x93NUMPY\x01\x00\x02\x00{}")
def test_bytes_that_are_no_array_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(ValueError, match="its tensor w cannot be read"):
        to_state(ArrayRecord({"w": Array("float32", (2,), "numpy.ndarray", data)}))


@given(st.data())
def test_an_array_of_which_a_byte_was_changed_is_read_or_refused(data: st.DataObject) -> None:
    good = Array(np.arange(6, dtype=np.float32).reshape(2, 3))
    raw = bytearray(good.data)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    changed = Array(good.dtype, good.shape, good.stype, bytes(raw))
    with contextlib.suppress(ValueError):
        tensor = to_state(ArrayRecord({"w": changed}))["w"]
        assert (tensor.shape, tensor.dtype) == ((2, 3), torch.float32)


@pytest.mark.parametrize(
    ("shape", "count"), [((1 << 40,), 4), ((0,), 4), ((2, -2), 4), ((4, 1 << 62), 4)]
)
def test_no_room_is_made_for_what_a_header_claims(shape: tuple[int, ...], count: int) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117)
    data = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header + b"\n" + bytes(4 * count)
    with pytest.raises(ValueError, match="its tensor w cannot be read"):
        to_state(ArrayRecord({"w": Array("float32", shape, "numpy.ndarray", data)}))


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
