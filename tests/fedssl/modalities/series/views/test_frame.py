"""Frames: the Fourier basis against its definition, and Gabor's against a sum."""

import math

import pytest
import torch
from torch import Tensor

from fedssl.modalities.series.views.frame import HOP, WINDOW, Frame, fourier
from tests.tools.series import series_of


def basis(length: int) -> Tensor:
    """Return the real Fourier basis, a vector a row."""
    steps = torch.arange(length, dtype=torch.float64)
    rows = [torch.ones(length, dtype=torch.float64) / math.sqrt(length)]
    for k in range(1, (length + 1) // 2):
        angle = 2 * math.pi * k * steps / length
        rows += [math.sqrt(2 / length) * angle.cos(), -math.sqrt(2 / length) * angle.sin()]
    if length % 2 == 0:
        rows.append((1 - 2 * (steps % 2)) / math.sqrt(length))
    return torch.stack(rows)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 31])
def test_fourier_is_the_orthonormal_basis(length: int) -> None:
    rows = basis(length)
    torch.testing.assert_close(rows @ rows.T, torch.eye(length, dtype=torch.float64))
    series = torch.randn(4, length, dtype=torch.float64)
    torch.testing.assert_close(fourier(series), series @ rows.T)


def test_fourier_is_that_of_the_series_own_length() -> None:
    series = series_of(5, 2, 20)
    made = Frame().apply(series.clone(), torch.empty(5, 0))
    for one, got in zip(series, made, strict=True):
        length = int((~one.isnan().all(0)).nonzero().max()) + 1
        values = one[:, :length].nan_to_num(0.0)
        torch.testing.assert_close(got[:, :length], (values.double() @ basis(length).T).float())
        # Nothing is lost: the energy is the same.
        torch.testing.assert_close(got[:, :length].square().sum(1), values.square().sum(1))
        assert got[:, length:].isnan().all()


def test_a_channel_that_is_not_there_has_no_coefficients() -> None:
    series = torch.randn(2, 3, 16)
    series[:, 1] = torch.nan
    for name in ("fourier", "gabor"):
        made = Frame.model_validate({"basis": name}).apply(series.clone(), torch.empty(2, 0))
        assert made.isnan().all(2).tolist() == [[False, True, False]] * 2


def test_gabor_is_the_modulus_of_windowed_sums() -> None:
    series = torch.randn(1, 1, 50)
    made = Frame(basis="gabor").apply(series.clone(), torch.empty(1, 0))
    count, frequencies = math.ceil(50 / HOP), WINDOW // 2 + 1
    got = made.view(count, frequencies)
    bell = [math.exp(-0.5 * ((n - WINDOW / 2) / (WINDOW / 6)) ** 2) for n in range(WINDOW)]
    size = math.sqrt(sum(b * b for b in bell))
    for place in range(count):
        for k in (0, 1, 5, WINDOW // 2):
            total = 0j
            for n in range(WINDOW):
                step = place * HOP - WINDOW // 2 + n
                if 0 <= step < 50:
                    turn = -2 * math.pi * k * n / WINDOW
                    value = series[0, 0, step].item() * bell[n] / size
                    total += value * complex(math.cos(turn), math.sin(turn))
            assert got[place, k].item() == pytest.approx(abs(total), abs=1e-4)


def test_gabor_of_white_noise_has_its_variance_and_knows_no_phase() -> None:
    noise = torch.randn(200, 1, 128, generator=torch.Generator().manual_seed(0))
    made = Frame(basis="gabor").apply(noise, torch.empty(200, 0)).view(200, 16, 17)
    assert made[:, 2:-2].square().mean() == pytest.approx(1, rel=0.05)
    steps = torch.arange(128) * 2 * math.pi * 4 / WINDOW
    waves = torch.stack([(steps + shift).sin() for shift in (0, 0.7, 2)]).unsqueeze(1)
    seen = Frame(basis="gabor").apply(waves, torch.empty(3, 0)).view(3, 16, 17)[:, 3:-3]
    torch.testing.assert_close(seen[0], seen[1], atol=0.05, rtol=0.02)
    torch.testing.assert_close(seen[0], seen[2], atol=0.05, rtol=0.02)
