"""The encoders of series: features that do not depend on how a series is filled up."""

from collections.abc import Callable
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fedssl.base.seeding import seeded_initialisation
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.series.encoders import ENCODERS
from fedssl.modalities.series.patches import PatchTransformer
from fedssl.networks.encoder import (
    CustomEncoderConfig,
    EncoderConfig,
    MaskableEncoder,
    build_from_section,
    count_parameters,
)
from fedssl.networks.norms import use_group_norm
from tests.tools.series import series_of

SPEC = ExampleSpec.of("series", (2, 8), torch.float32)


def build_encoder(name: str, channels: int) -> nn.Module:
    spec = ExampleSpec.of("series", (channels, 40), torch.float32)
    return build_from_section(ENCODERS, cast(EncoderConfig, ENCODERS.read(name)), spec)


MAKE: dict[str, Callable[[], nn.Module]] = {
    "conv1d": lambda: build_encoder("conv1d", 2),
    "conv1d, GroupNorm": lambda: use_group_norm(build_encoder("conv1d", 2)),
    "patch-transformer": lambda: build_encoder("patch-transformer", 2),
}


def made(name: str) -> nn.Module:
    with seeded_initialisation(0):
        return MAKE[name]()


def trained(name: str) -> nn.Module:
    """Return an encoder whose BatchNorms have seen a batch, in eval mode."""
    encoder = made(name)
    for _ in range(3):
        encoder(3 * series_of(16, 2, 40, 1) + 1)
    return encoder.eval()


@pytest.mark.parametrize("name", MAKE)
@settings(max_examples=15, deadline=None)
@given(total=st.integers(1, 60), more=st.integers(1, 90), seed=st.integers(0, 9))
def test_what_fills_up_a_series_never_changes_a_feature(
    name: str, total: int, more: int, seed: int
) -> None:
    encoder, series = trained(name), series_of(4, 2, total, seed)
    with torch.no_grad():
        features = encoder(series)
        filled = encoder(F.pad(series, (0, more), value=torch.nan))
        alone = torch.cat([encoder(one[None, :, : _end(one)]) for one in series])
    assert features.shape == (4, encoder.features)
    assert features.isfinite().all()
    torch.testing.assert_close(filled, features, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, features, rtol=0, atol=1e-5)


def _end(series: torch.Tensor) -> int:
    return int((~series.isnan().all(0)).nonzero().max()) + 1


@pytest.mark.parametrize("name", MAKE)
def test_training_does_not_see_what_fills_up_a_series_either(name: str) -> None:
    series = series_of(6, 2, 24)
    one, other = made(name), made(name)
    features = one(series), other(F.pad(series, (0, 40), value=torch.nan))
    torch.testing.assert_close(*features, rtol=0, atol=1e-4)
    for result in features:
        result.square().sum().backward()
    for (place, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert a.grad is not None, place
        assert b.grad is not None, place
        assert a.grad.isfinite().all()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-3)
    for (place, x), (_, y) in zip(one.named_buffers(), other.named_buffers(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5, msg=place)


@pytest.mark.parametrize("name", MAKE)
def test_a_gap_is_the_mean_and_a_step_that_is_not_there_counts_for_nothing(name: str) -> None:
    encoder, series = trained(name), torch.randn(3, 2, 32)
    with torch.no_grad():
        gap, zero = series.clone(), series.clone()
        gap[:, 0, 5], zero[:, 0, 5] = torch.nan, 0
        torch.testing.assert_close(encoder(gap), encoder(zero))
        gap, zero = series.clone(), series.clone()
        gap[..., 8:24], zero[..., 8:24] = torch.nan, 0
        assert (encoder(gap) - encoder(zero)).abs().max() > 1e-3


@pytest.mark.parametrize("name", MAKE)
def test_where_nothing_is_there_features_are_finite(name: str) -> None:
    encoder = made(name)
    series = torch.randn(3, 2, 20)
    series[1] = torch.nan
    for mode in (True, False):
        assert encoder.train(mode)(series).isfinite().all()
        assert encoder(torch.full((2, 2, 9), torch.nan)).isfinite().all()


def test_sizes_are_small() -> None:
    assert 90_000 < count_parameters(build_encoder("conv1d", 3)) < 110_000
    assert 440_000 < count_parameters(build_encoder("patch-transformer", 3)) < 460_000


def test_groups_take_no_other_step() -> None:
    encoder = made("conv1d, GroupNorm")
    assert not any(isinstance(module, nn.BatchNorm1d) for module in encoder.modules())
    alone = torch.randn(1, 2, 16)
    torch.testing.assert_close(encoder(alone.repeat(3, 1, 1))[0], encoder(alone)[0])


def test_patches_keep_nan_and_the_last_is_filled_up() -> None:
    encoder = PatchTransformer(2, patch=4, width=12, depth=1, heads=3)
    assert isinstance(encoder, MaskableEncoder)
    series = torch.arange(20.0).view(1, 2, 10)
    series[0, :, 4:8] = torch.nan
    patches = encoder.patches(series)
    n = torch.nan
    expected = [[0, 1, 2, 3, 10, 11, 12, 13], [n] * 8, [8, 9, n, n, 18, 19, n, n]]
    torch.testing.assert_close(patches, torch.tensor([expected]), equal_nan=True)
    assert encoder.observed_patches(series).tolist() == [[True, False, True]]
    assert encoder.position_encodings(series, 12).shape == (3, 12)


def test_tokens_that_are_not_shown_are_not_seen() -> None:
    encoder = PatchTransformer(2, patch=4, width=12, depth=2, heads=3).eval()
    series = torch.randn(3, 2, 20)
    shown = torch.tensor([[0, 2], [4, 1], [3, 2]])
    other = series.clone()
    other[0, :, 4:8], other[1, :, :4], other[2, :, 16:] = 9.0, 9.0, 9.0
    with torch.no_grad():
        one = encoder.tokens(series, shown)
        assert one.shape == (3, 2, 12)
        torch.testing.assert_close(encoder.tokens(other, shown), one)
        other[0, :, 8:12] = 9.0
        assert (encoder.tokens(other, shown) - one)[0].abs().max() > 1e-3
        # Of those shown, one that is not there is looked at by no other.
        gone = series.clone()
        gone[0, :, 8:12] = torch.nan
        alone = encoder.tokens(series, shown[:, :1])
        torch.testing.assert_close(encoder.tokens(gone, shown)[0, 0], alone[0, 0])


class Own(nn.Module):
    features = 3

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        return series.isnan().float().mean((1, 2))[:, None].expand(-1, 3)


def nothing() -> object:
    return None


def test_an_encoder_of_ones_own_gets_nan() -> None:
    here = "tests.fedssl.modalities.series.test_encoders"
    encoder = build_from_section(ENCODERS, CustomEncoderConfig(name=f"{here}.Own"), SPEC)
    series = torch.full((1, 2, 8), torch.nan)
    assert encoder(series).tolist() == [[1, 1, 1]]
    with pytest.raises(ValueError, match="must return a torch module with an int attribute"):
        build_from_section(ENCODERS, CustomEncoderConfig(name=f"{here}.nothing"), SPEC)
