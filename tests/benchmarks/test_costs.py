import mmap
import os

import pytest
import torch

from fedssl.modalities.image.encoders import build_encoder
from fedssl.networks.encoder import count_parameters
from simulations.bench.timing import one_core, peak_mb
from tests.benchmarks import costs


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "ENOUGH", 0.0)


def test_a_round_costs_time() -> None:
    cost = costs.of_clients(3)
    assert (cost.at, cost.views) == (3, None)
    assert cost.time > 0


def test_a_client_round_of_a_model_counts_its_parameters() -> None:
    cost = costs.of_parameters("tests.benchmarks.costs.wide_1m")
    encoder = build_encoder("tests.benchmarks.costs.wide_1m", 32)
    assert cost.at > count_parameters(encoder)
    assert cost.time > 0


def test_views_are_a_part_of_a_local_update() -> None:
    cost = costs.of_side(16)
    assert cost.views is not None
    assert 0 < cost.views < cost.time


@pytest.mark.parametrize(("name", "millions"), [("wide_1m", 1), ("wide_3m", 3), ("wide_10m", 10)])
def test_the_encoders_have_the_size_that_they_are_called_by(name: str, millions: int) -> None:
    encoder = build_encoder(f"tests.benchmarks.costs.{name}", 32)
    assert count_parameters(encoder) == pytest.approx(1e6 * millions, rel=0.02)
    assert encoder(torch.zeros(2, 3, 16, 16)).shape == (2, encoder.features)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot bind threads")
def test_one_core_is_used_and_then_all_again() -> None:
    before = os.sched_getaffinity(0)
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_a_peak_that_is_past_is_forgotten() -> None:
    costs.forget_peak()
    # Not a tensor: tests before may have told the C library to keep what is freed.
    with mmap.mmap(-1, size := 100_000_000) as held:
        held.write(bytes([1]) * size)
    before = peak_mb()
    costs.forget_peak()
    after = peak_mb()
    assert before is not None
    assert after is not None
    assert after < before - 50


def test_the_lesser_cost_of_two_is_taken() -> None:
    first, second = costs.Cost(3, 2.0, 5.0, None), costs.Cost(3, 1.0, 6.0, None)
    assert first.least(second) == costs.Cost(3, 1.0, 5.0, None)
    assert costs.Cost(3, 2.0, None, 0.5).least(costs.Cost(3, 3.0, None, 0.4)) == costs.Cost(
        3, 2.0, None, 0.4
    )
