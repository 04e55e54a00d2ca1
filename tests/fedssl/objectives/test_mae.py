"""MAE: its loss against the formula, and what is shown and what is masked."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fedssl.modalities.image import IMAGE
from fedssl.modalities.image.vit import VisionTransformer
from fedssl.model_state import federated_state, private_tensors
from fedssl.objectives.mae import MAE, masked_error
from tests.tools.objectives import (
    TinyEncoder,
    gradients_are_finite,
    make_batch,
    make_objective,
    normal,
)


def by_the_formula(rebuilt: Tensor, patches: Tensor) -> float:
    errors: list[float] = []
    for made, patch in zip(rebuilt.flatten(0, 1).tolist(), patches.flatten(0, 1), strict=True):
        mean, deviation = patch.mean().item(), math.sqrt(patch.var().item() + 1e-6)
        pixels = patch.tolist()
        errors += [(m - (x - mean) / deviation) ** 2 for m, x in zip(made, pixels, strict=True)]
    return sum(errors) / len(errors)


def test_it_is_the_formula() -> None:
    rebuilt, patches = normal(3, 4, 12), 5 * normal(3, 4, 12, seed=1) + 2
    expected = by_the_formula(rebuilt, patches)
    assert masked_error(rebuilt, patches).item() == pytest.approx(expected, rel=1e-5)


def test_known_values() -> None:
    patches = normal(3, 4, 12)
    exact = (patches - patches.mean(2, keepdim=True)) / patches.std(2, keepdim=True)
    assert masked_error(exact, patches).item() == pytest.approx(0, abs=1e-6)
    assert masked_error(torch.zeros(3, 4, 12), patches).item() == pytest.approx(11 / 12, rel=1e-4)
    # Scale and brightness of a patch do not matter; one of a single colour is all zeros.
    torch.testing.assert_close(
        masked_error(exact, 7 * patches + 3), torch.tensor(0.0), atol=1e-5, rtol=0
    )
    assert masked_error(torch.ones(3, 4, 12), torch.ones(3, 4, 12)).item() == 1


def test_gradients() -> None:
    rebuilt, patches = (normal(2, 3, 4, seed=s, dtype=torch.float64) for s in (0, 1))
    rebuilt.requires_grad_()
    assert torch.autograd.gradcheck(lambda r: masked_error(r, patches), [rebuilt])


@pytest.mark.parametrize("scale", [0.0, 1e12, 1e-15])
def test_extreme_pixels_stay_finite(scale: float) -> None:
    rebuilt = normal(2, 3, 4).requires_grad_()
    assert gradients_are_finite(masked_error(rebuilt, scale * normal(2, 3, 4, seed=1)), [rebuilt])


def test_the_loss_is_that_of_the_patches_that_the_encoder_did_not_see() -> None:
    objective, batch = make_objective(MAE, masked=0.75), make_batch(5, views=1)
    encoder = objective.encoder
    assert isinstance(encoder, VisionTransformer)
    seen: list[Tensor] = []
    encoder.blocks.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    made: list[Tensor] = []
    objective.pixels.register_forward_hook(lambda *call: made.append(call[-1]))
    loss = objective(batch)
    order = torch.rand(5, 16, generator=make_batch(5).generator).argsort(1)
    assert seen[0].shape == (5, 4, 12)
    patches = encoder.patches(batch.views[0])
    hidden = torch.stack([patch[row[4:]] for patch, row in zip(patches, order, strict=True)])
    assert loss.item() == pytest.approx(by_the_formula(made[0], hidden), rel=1e-4)


def test_every_step_masks_other_patches_and_what_is_masked_is_not_seen() -> None:
    objective, batch = make_objective(MAE), make_batch(5, views=1)
    assert objective(batch).item() != objective(batch).item()
    order = torch.rand(5, 16, generator=make_batch(5).generator).argsort(1)
    example = batch.views[0].clone()
    for n, place in enumerate(order[:, -1].tolist()):
        r, c = 2 * (place // 4), 2 * (place % 4)
        # Scaled, a masked patch has the same target; were it seen, the loss would change.
        example[n, :, r : r + 2, c : c + 2] *= 10
    one, other = (
        objective(make_batch(5, views=1)),
        objective(replace(make_batch(5), views=[example])),
    )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("masked", "shown"), [(0.01, 15), (0.5, 8), (0.99, 1)])
def test_at_least_one_patch_is_masked_and_one_shown(masked: float, shown: int) -> None:
    objective = make_objective(MAE, masked=masked)
    seen: list[Tensor] = []
    objective.embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert objective(make_batch(2, views=1)).isfinite()
    assert seen[0].shape[1] == shown


def test_everything_is_federated() -> None:
    objective = make_objective(MAE)
    assert not private_tensors(objective)
    names = {n.split(".")[0] for n in federated_state(objective)}
    assert names == {"encoder", "embed", "mask", "decoder", "pixels"}


def test_what_it_cannot_train_is_refused() -> None:
    with pytest.raises(ValueError, match=r"set model\.encoder to vit-tiny"):
        MAE.check_fits(TinyEncoder(), IMAGE)
    encoder = VisionTransformer(patch=8, width=12, depth=1, heads=3)
    with pytest.raises(ValueError, match="one patch only"):
        MAE(encoder, (), MAE.Config())(make_batch(2, views=1))
    with pytest.raises(ValueError, match=r"objective\.decoder_heads = 5: must divide"):
        MAE(encoder, (), MAE.Config(decoder_heads=5))
