from collections.abc import Callable

import pytest

from fedssl.training.transmission import TransmissionPlan
from strategies.base import build_instructions
from tests.tools.strategy_rounds import (
    NAMES,
    make_strategy,
    model,
)

CONV, HEAD = "encoder.conv.weight", "projector.weight"


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
