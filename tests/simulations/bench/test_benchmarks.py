"""Each measure, small: that it measures what it says, not how fast it is."""

from collections.abc import Callable

import pytest
import torch

from simulations.bench import benchmarks, central_evaluation, local_work, merge, overhead, precision
from simulations.bench.measurement import Measurement
from simulations.bench.setting import experiment, idle_server, images


@pytest.mark.parametrize(
    "measure",
    [
        pytest.param(lambda: local_work.views(64, times=1), id="views"),
        pytest.param(lambda: local_work.local_update("convnet", 8, 4, times=1), id="local update"),
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


def test_idle_clients_leave_the_model_as_it_is() -> None:
    with idle_server(experiment(), 3) as server:
        before = {name: t.clone() for name, t in server.state().items()}
        answers = server.train(1, [0, 1, 2])
        assert [answer.error for answer in answers] == [None] * 3
        assert all(torch.allclose(t, before[n]) for n, t in server.state().items())


def test_examples_are_random_of_any_side() -> None:
    shown = images(4, side=16)
    assert shown.shape == (4, 3, 16, 16)
    assert shown.dtype == torch.uint8
    assert shown.float().std() > 20


def test_a_cpu_without_bf16_and_a_machine_without_a_gpu_say_so() -> None:
    for measurement in [*precision.on_cpu(2, times=1), *precision.on_gpu()]:
        assert (measurement.value is None) == measurement.note.startswith("not measured: ")
        assert measurement.value is not None or measurement.met is None


def test_what_the_gpu_is_measured_by_works_on_any_device() -> None:
    rate, operations = precision.gpu_rate("cpu", "convnet", count=8, batch_size=4)
    assert rate > 0
    # Two per weight and place: conv 3→32 at 32×32, 32→64 at 16×16, 64→64 at 8×8, 64→128 at 4×4;
    # the backward pass takes twice that, but for the examples, which need no gradient.
    forward = [
        2 * 9 * a * b * s * s for a, b, s in [(3, 32, 32), (32, 64, 16), (64, 64, 8), (64, 128, 4)]
    ]
    heads = 2 * (128 * 256 + 256 * 128)
    assert operations == pytest.approx(3 * (sum(forward) + heads) - forward[0], rel=0.02)


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
