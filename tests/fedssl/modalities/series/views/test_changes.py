"""The steps of a series' views: what each does, and that what is not there stays so."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from fedssl.base.seeding import generator
from fedssl.modalities.series import SERIES
from fedssl.modalities.series.absence import lengths, steps_there
from fedssl.modalities.series.data.waves import Waves
from fedssl.modalities.series.views.changes import (
    ChannelDropout,
    Crop,
    Jitter,
    Mask,
    Scaling,
    TimeWarp,
)
from fedssl.modalities.series.views.frame import Frame
from fedssl.views.recipe import Change
from tests.tools.series import series_of

STEPS: dict[str, Callable[[], Change]] = {
    "crop": Crop,
    "jitter": Jitter,
    "scaling": Scaling,
    "time-warp": TimeWarp,
    "mask": Mask,
    "channel-dropout": ChannelDropout,
    "fourier": Frame,
    "gabor": lambda: Frame(basis="gabor"),
}


def applied(step: Change, series: Tensor, seed: int = 0) -> Tensor:
    needed = step.draws_of(tuple(series.shape[1:]))
    uniform = torch.rand(len(series), needed, generator=generator(seed, "test"))
    return step.apply(series.clone(), uniform)


def test_all_steps_are_tested() -> None:
    assert {make().name for make in STEPS.values()} == set(SERIES.view_steps)


@pytest.mark.parametrize("name", STEPS)
@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 4),
    total=st.integers(1, 40),
    count=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_shapes_types_and_what_is_not_there(
    name: str, channels: int, total: int, count: int, seed: int
) -> None:
    step, series = STEPS[name](), series_of(count, channels, total, seed)
    made = applied(step, series, seed)
    assert made.dtype == torch.float32
    assert tuple(made.shape[1:]) == step.shape_of((channels, total))
    assert not made.isinf().any()
    if name not in ("crop", "gabor"):
        # Beyond the end there is nothing, before nor after.
        beyond = torch.arange(total) >= lengths(series)[:, None]
        assert made.transpose(1, 2)[beyond].isnan().all()
    if name in ("jitter", "scaling", "mask", "channel-dropout"):
        assert made[series.isnan()].isnan().all()
    if name in ("jitter", "scaling"):
        assert not made[~series.isnan()].isnan().any()


@pytest.mark.parametrize("name", STEPS)
@settings(max_examples=10, deadline=None)
@given(total=st.integers(1, 30), more=st.integers(1, 70), seed=st.integers(0, 9))
def test_what_fills_up_a_series_does_not_matter(
    name: str, total: int, more: int, seed: int
) -> None:
    step, series = STEPS[name](), series_of(4, 2, total, seed)
    filled = torch.nn.functional.pad(series, (0, more), value=torch.nan)
    uniform = torch.rand(4, step.draws_of((2, total)), generator=generator(seed, "test"))
    if name == "jitter":
        # It has a number for each value: those of the series' own steps are to be the same.
        extra = torch.rand(4, 2, more, generator=generator(seed, "more"))
        wide = torch.cat([uniform.view(4, 2, total), extra], 2).flatten(1)
    else:
        wide = uniform
    one, other = step.apply(series.clone(), uniform), step.apply(filled, wide)
    assert other[..., one.shape[2] :].isnan().all()
    torch.testing.assert_close(
        one, other[..., : one.shape[2]], equal_nan=True, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("policy", [*SERIES.policies, "every step"])
def test_two_batches_get_what_the_one_that_they_make_gets(policy: str) -> None:
    steps = [make() for make in STEPS.values()]
    if policy != "every step":
        steps = list(SERIES.policies[policy].steps)  # type: ignore[arg-type]
    views, series = SERIES.views(steps, Waves()), series_of(7, 3, 50, 0)
    before = series.clone()
    for view in (1, 2, 3):
        draws = generator(0, "views")
        whole = views(series, draws, view)
        draws = generator(0, "views")
        parts = [views(series[:3], draws, view), views(series[3:], draws, view)]
        torch.testing.assert_close(whole, torch.cat(parts), equal_nan=True, rtol=1e-5, atol=1e-5)
        spec = SERIES.preparation(Waves()).spec_of
        made = views.spec_of(spec(_spec(series)), view)
        assert (made.shape, made.dtype) == (tuple(whole.shape[1:]), "float32")
    # The stored examples are not written to.
    torch.testing.assert_close(series, before, equal_nan=True, rtol=0, atol=0)


def _spec(series: Tensor):  # type: ignore[no-untyped-def]
    from fedssl.data.example_spec import ExampleSpec

    return ExampleSpec.of("series", tuple(series.shape[1:]), series.dtype)


@given(
    total=st.integers(1, 50),
    low=st.floats(0.01, 1),
    high=st.floats(0.01, 1),
    draw=st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=2, max_size=2),
)
def test_a_crop_is_a_window_at_the_front(
    total: int, low: float, high: float, draw: list[float]
) -> None:
    low, high = min(low, high), max(low, high)
    series = torch.arange(60.0).view(1, 2, 30).repeat(1, 1, 2)
    series[..., total:] = torch.nan
    made = Crop(scale=(low, high)).apply(series.clone(), torch.tensor([draw]))[0, 0]
    kept = int((~made.isnan()).sum())
    assert made[kept:].isnan().all()
    assert max(1, math.floor(low * total)) <= kept <= max(1, math.ceil(high * total))
    windows = series[0, 0].unfold(0, kept, 1)
    assert any(torch.equal(made[:kept], window) for window in windows[: total - kept + 1])


def test_every_window_is_drawn_equally() -> None:
    series = torch.arange(4.0).expand(4000, 1, 4)
    first = applied(Crop(scale=(0.5, 0.5)), series)[:, 0, 0]
    assert torch.unique(first).tolist() == [0, 1, 2]
    assert torch.bincount(first.long()).min() > 1200


def test_jitter_is_gaussian_and_finite_at_the_ends() -> None:
    made = applied(Jitter(sigma=0.5), torch.zeros(200, 3, 100)).flatten()
    assert made.mean().abs() < 0.01
    assert made.std() == pytest.approx(0.5, rel=0.02)
    assert (made.abs() < 0.5).float().mean() == pytest.approx(0.6827, abs=0.01)
    ends = torch.tensor([[0.0, 1 - 2**-24]])
    assert Jitter().apply(torch.zeros(1, 1, 2), ends).isfinite().all()


def test_scaling_is_one_factor_a_channel_around_one() -> None:
    series = torch.rand(500, 3, 9, generator=generator(0, "x")) + 0.5
    factors = applied(Scaling(strength=0.4), series) / series
    assert factors.std(2).max() < 1e-5
    assert 0.6 - 1e-5 < factors.min() < 0.62
    assert 1.38 < factors.max() < 1.4 + 1e-5
    assert factors.mean() == pytest.approx(1, abs=0.02)
    assert (factors[:, 0] - factors[:, 1]).abs().max() > 0.1


def test_a_warp_keeps_ends_order_and_a_line_between() -> None:
    line = torch.arange(50.0).expand(300, 1, 50)
    made = applied(TimeWarp(speed=2.0), line)[:, 0]
    assert torch.equal(made[:, 0], torch.zeros(300))
    torch.testing.assert_close(made[:, -1], torch.full((300,), 49.0))
    speed = made.diff(dim=1)
    assert speed.min() > 0.2
    assert speed.max() < 4.1
    # Smooth: the speed changes little from one step to the next.
    assert speed.diff(dim=1).abs().max() < 0.3
    assert (made - line[:, 0]).abs().max() > 4
    torch.testing.assert_close(applied(TimeWarp(speed=1.0), line)[:, 0], line[:, 0])


def test_a_warp_invents_nothing_in_a_gap() -> None:
    series = torch.arange(40.0).expand(50, 1, 40).clone()
    series[..., 10:20] = torch.nan
    made = applied(TimeWarp(), series)[:, 0]
    there = made[~made.isnan()]
    assert not ((there > 9) & (there < 20)).any()
    assert made.isnan().any(1).all()


@given(share=st.floats(0, 0.999), total=st.integers(1, 60), seed=st.integers(0, 5))
def test_a_mask_takes_a_share_at_most_in_three_spans(share: float, total: int, seed: int) -> None:
    series = torch.zeros(6, 2, 60)
    series[..., total:] = torch.nan
    gone = applied(Mask(share=share), series, seed).isnan()
    assert torch.equal(gone[:, 0], gone[:, 1])
    own = gone[:, 0, :total]
    assert own.sum(1).max() <= share * total
    assert own.sum(1).min() >= math.floor(share * total / 3)
    edges = own.int().diff(dim=1, prepend=torch.zeros(6, 1, dtype=torch.int32))
    assert (edges == 1).sum(1).max() <= 3


def test_channels_are_dropped_but_never_all() -> None:
    series = torch.zeros(2000, 3, 4)
    gone = applied(ChannelDropout(probability=0.3), series).isnan()
    assert torch.equal(gone.any(2), gone.all(2))
    assert gone.all(2).float().mean() == pytest.approx(0.3 - 0.3**3 / 3, abs=0.02)
    gone = applied(ChannelDropout(probability=1.0), series).isnan().all(2)
    assert (gone.sum(1) == 2).all()
    assert gone.float().mean(0).tolist() == pytest.approx([2 / 3] * 3, abs=0.04)
    assert steps_there(applied(ChannelDropout(probability=1.0), torch.zeros(5, 1, 4))).all()


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        (Crop, {"scale": (0.5, 1.1)}),
        (Crop, {"scale": (0.6, 0.5)}),
        (Jitter, {"sigma": -0.1}),
        (Scaling, {"strength": 1.0}),
        (TimeWarp, {"speed": 0.9}),
        (Mask, {"share": 1.0}),
        (ChannelDropout, {"probability": 1.5}),
        (Frame, {"basis": "wavelet"}),
    ],
)
def test_fields_out_of_range_are_refused(step: type[Change], fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        step.model_validate(fields)
