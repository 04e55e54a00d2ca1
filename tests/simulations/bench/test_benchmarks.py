"""Each measure, small: that it measures what it says, not how fast it is."""

from collections.abc import Callable

import pytest

from simulations.bench import (
    benchmarks,
    central_evaluation,
    local_work,
    merge,
    overhead,
    reply_check,
)
from simulations.bench.measurement import Measurement


@pytest.mark.parametrize(
    "measure",
    [
        pytest.param(lambda: local_work.views(64, times=1), id="views"),
        pytest.param(lambda: local_work.local_update("convnet", 8, 4, times=1), id="local update"),
        pytest.param(lambda: reply_check.a_reply(2, times=1), id="check of a reply"),
        pytest.param(lambda: merge.ldawa(2, times=1), id="L-DAWA"),
        pytest.param(lambda: central_evaluation.features(64, times=1), id="features"),
        pytest.param(lambda: overhead.client_rounds(2, times=1), id="client-round"),
    ],
)
def test_a_measure_compares_with_its_reference(measure: Callable[[], list[Measurement]]) -> None:
    for measurement in measure():
        assert measurement.value is not None
        assert measurement.reference is not None
        assert measurement.ratio is not None
        assert measurement.value > 0
        assert measurement.ratio == pytest.approx(measurement.value / measurement.reference)
        assert measurement.note


def test_quick_leaves_out_what_is_long() -> None:
    assert benchmarks(quick=False).keys() - benchmarks(quick=True).keys() == {
        "probe, kNN and RankMe"
    }


@pytest.mark.slow
def test_memory_is_measured() -> None:
    measurements = overhead.memory(None)
    assert all(
        measurement.value is not None and measurement.value > 0 for measurement in measurements
    )
