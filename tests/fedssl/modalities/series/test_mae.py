"""MAE of series: what is not there is neither rebuilt nor looked at."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from fedssl.base.seeding import generator, seeded_initialisation
from fedssl.modalities.series.patches import PatchTransformer
from fedssl.objectives.batch import Batch
from fedssl.objectives.mae import MAE, known_error, masked_error, with_both


def objective() -> MAE:
    with seeded_initialisation(0):
        encoder = PatchTransformer(2, patch=4, width=12, depth=1, heads=3)
        return MAE(encoder, (), MAE.Config(decoder_width=12, decoder_depth=1))


def batch(series: Tensor, seed: int = 0) -> Batch:
    return Batch([series], torch.arange(len(series)), generator=generator(seed, "mae"))


def by_the_formula(rebuilt: Tensor, patches: Tensor) -> float:
    errors: list[float] = []
    for made, patch in zip(
        rebuilt.flatten(0, 1).tolist(), patches.flatten(0, 1).tolist(), strict=True
    ):
        known = [x for x in patch if not math.isnan(x)]
        if not known:
            continue
        mean = sum(known) / len(known)
        variance = sum((x - mean) ** 2 for x in known) / max(1, len(known) - 1)
        errors += [
            (m - (x - mean) / math.sqrt(variance + 1e-6)) ** 2
            for m, x in zip(made, patch, strict=True)
            if not math.isnan(x)
        ]
    return sum(errors) / len(errors)


def test_the_error_is_that_of_what_is_known() -> None:
    draws = generator(0, "x")
    rebuilt, patches = torch.randn(2, 3, 4, 8, generator=draws).unbind(0)
    torch.testing.assert_close(known_error(rebuilt, patches), masked_error(rebuilt, patches))
    patches[torch.rand(3, 4, 8, generator=draws) < 0.4] = torch.nan
    patches[1, 2] = torch.nan
    expected = by_the_formula(rebuilt, patches)
    assert known_error(rebuilt, patches).item() == pytest.approx(expected, rel=1e-4)
    assert known_error(rebuilt, torch.full_like(patches, torch.nan)).item() == 0


@given(seed=st.integers(0, 50), total=st.integers(2, 12), kept=st.integers(1, 11))
def test_one_patch_that_is_there_is_shown_and_one_is_not(seed: int, total: int, kept: int) -> None:
    kept = min(kept, total - 1)
    draws = generator(seed, "x")
    ranks = torch.rand(9, total, generator=draws)
    there = torch.rand(9, total, generator=draws) < 0.5
    assert torch.equal(with_both(ranks, torch.ones_like(there)).argsort(1), ranks.argsort(1))
    order = with_both(ranks, there).argsort(1)
    shown = there.gather(1, order[:, :kept]).any(1)
    hidden = there.gather(1, order[:, kept:]).any(1)
    assert torch.equal(shown, there.any(1))
    assert hidden[there.sum(1) > 1].all()


def test_what_is_not_there_changes_no_gradient() -> None:
    series = torch.randn(4, 2, 32, generator=generator(0, "x"))
    series[:, :, 13:] = torch.nan
    series[2, 0, 3] = torch.nan
    model = objective()
    loss = model(batch(series))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    # A patch that is not there is told by NaN alone: its place and number mean nothing.
    seen: list[Tensor | None] = []
    for blocks in (model.encoder.blocks, model.decoder):
        blocks.register_forward_pre_hook(  # type: ignore[union-attr]
            lambda _, args, named: seen.append(named["src_key_padding_mask"]), with_kwargs=True
        )
    model(batch(series))
    encoder_mask, decoder_mask = seen
    assert encoder_mask is not None
    assert decoder_mask is not None
    assert decoder_mask.sum(1).tolist() == [4] * 4
    assert not encoder_mask.all(1).any()


def test_series_that_are_all_there_are_masked_as_images_are() -> None:
    series = torch.randn(3, 2, 32, generator=generator(0, "x"))
    model = objective()
    order = torch.rand(3, 8, generator=generator(0, "mae")).argsort(1)
    made: list[Tensor] = []
    model.pixels.register_forward_hook(lambda *call: made.append(call[-1]))
    loss = model(batch(series))
    encoder = model.encoder
    assert isinstance(encoder, PatchTransformer)
    patches = encoder.patches(series)
    target = torch.stack([p[row[2:]] for p, row in zip(patches, order, strict=True)])
    torch.testing.assert_close(loss, masked_error(made[0], target))


def test_a_batch_of_nothing_has_a_finite_loss() -> None:
    series = torch.full((2, 2, 16), torch.nan)
    loss = objective()(batch(F.pad(series, (0, 4), value=torch.nan)))
    loss.backward()
    assert loss.item() == 0
