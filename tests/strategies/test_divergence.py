import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.divergence import divergence
from tests.tools.strategy_models import model, naive_cosine

quick = settings(deadline=None, max_examples=25)

vectors = st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=4).map(
    lambda values: torch.tensor([v if abs(v) > 1e-3 else 0.0 for v in values])
)


def test_divergence_against_a_naive_cosine() -> None:
    g, w = model(77), model(1)
    w["bn.weight"] = -g["bn.weight"] + w["bn.weight"] / 4
    deltas = divergence(g, w)
    directed = [n for n, t in g.items() if t.is_floating_point() and t.dim()]
    assert list(deltas) == directed
    assert deltas["bn.weight"] < 0
    for name, delta in deltas.items():
        assert delta == pytest.approx(naive_cosine(w[name], g[name]), abs=1e-6)


@quick
@given(vectors, st.floats(0.125, 8))
def test_divergence_is_between_minus_one_and_one(g: torch.Tensor, factor: float) -> None:
    deltas = divergence({"a": g, "b": g}, {"a": factor * g, "b": -factor * g})
    assert deltas["a"] <= 1
    assert deltas["a"] == pytest.approx(1, abs=1e-6)
    assert deltas["b"] == pytest.approx(-1 if g.any() else 1, abs=1e-6)


def test_divergence_of_zeros() -> None:
    zero, one = torch.zeros(2), torch.ones(2)
    deltas = divergence({"a": zero, "b": one, "c": zero}, {"a": one, "b": zero, "c": zero})
    assert deltas == {"a": 1.0, "b": 0.0, "c": 1.0}


def test_divergence_of_a_large_tensor_is_precise_enough_to_see_small_turns() -> None:
    draw = torch.Generator().manual_seed(0)
    g = torch.randn(512, 512, 3, 3, generator=draw)
    w = g + 0.02 * torch.randn(g.shape, generator=draw)
    exact = torch.dot(g.double().flatten(), w.double().flatten()) / (
        g.double().norm() * w.double().norm()
    )
    assert 1 - float(exact) == pytest.approx(2e-4, rel=0.01)
    assert divergence({"w": g}, {"w": w})["w"] == pytest.approx(float(exact), abs=1e-6)


def test_memory_format_and_element_type_do_not_matter() -> None:
    g, w = model(77), model(1)
    other = {**w, "conv.weight": w["conv.weight"].to(memory_format=torch.channels_last)}
    assert divergence(g, other) == divergence(g, w)
    doubled = {n: t.double() if t.is_floating_point() else t for n, t in w.items()}
    assert divergence(g, doubled) == pytest.approx(divergence(g, w), abs=1e-6)
