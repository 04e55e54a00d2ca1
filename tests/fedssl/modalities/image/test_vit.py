"""The vision transformer: patches, places, and what it sees when some patches are hidden."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fedssl.modalities.image.encoders import build_encoder
from fedssl.modalities.image.vit import VisionTransformer, positions_2d
from fedssl.networks.encoder import count_parameters


def images(count: int = 2, height: int = 8, width: int = 8) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def small() -> VisionTransformer:
    return VisionTransformer(patch=2, width=12, depth=2, heads=3)


def test_patches_are_cut_row_by_row() -> None:
    shown = images(height=7)
    patches = small().patches(shown)
    assert patches.shape == (2, 3 * 4, 3 * 4)
    for place in range(12):
        row, column = 2 * (place // 4), 2 * (place % 4)
        expected = shown[:, :, row : row + 2, column : column + 2].flatten(1)
        assert torch.equal(patches[:, place], expected)


def test_every_place_has_its_own_encoding() -> None:
    places = positions_2d(5, 6, 16)
    assert torch.cdist(places, places).add(torch.eye(30)).min() > 0.1
    # Of row 3, column 2: sines of both, then cosines, at frequencies 10000^(-4k/16).
    angles = [place / 10_000 ** (4 * k / 16) for place in (3, 2) for k in range(4)]
    expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    torch.testing.assert_close(places[3 * 6 + 2], torch.tensor(expected))
    with pytest.raises(ValueError, match="multiple of 4, not 10"):
        positions_2d(2, 2, 10)


def test_the_first_block_is_attention_and_an_mlp_after_normalisation() -> None:
    encoder = VisionTransformer(patch=2, width=12, depth=1, heads=3)
    (block,) = encoder.blocks.layers
    x = encoder.embed(encoder.patches(images())) + positions_2d(4, 4, 12)
    y = F.layer_norm(x, (12,))
    q, k, v = (
        part.view(2, 16, 3, 4).transpose(1, 2)
        for part in (y @ block.self_attn.in_proj_weight.T).chunk(3, dim=2)
    )
    mixed = (q @ k.transpose(2, 3) / 2).softmax(3) @ v
    x = x + block.self_attn.out_proj(mixed.transpose(1, 2).reshape(2, 16, 12))
    x = x + block.linear2(F.gelu(block.linear1(F.layer_norm(x, (12,)))))
    expected = F.layer_norm(x, (12,)).mean(1)
    torch.testing.assert_close(encoder(images()), expected)
    torch.testing.assert_close(encoder.eval()(images()), expected)


def test_hidden_patches_have_no_influence_and_the_order_of_those_shown_none_either() -> None:
    encoder, shown = small(), images()
    places = torch.tensor([[0, 5, 9], [3, 2, 15]])
    seen = encoder.tokens(shown, places)
    blank = torch.zeros_like(shown)
    for image, row in enumerate(places.tolist()):
        for place in row:
            r, c = 2 * (place // 4), 2 * (place % 4)
            blank[image, :, r : r + 2, c : c + 2] = shown[image, :, r : r + 2, c : c + 2]
    torch.testing.assert_close(encoder.tokens(blank, places), seen)
    torch.testing.assert_close(encoder.tokens(shown, places.flip(1)), seen.flip(1))
    everything = torch.arange(16).expand(2, -1)
    torch.testing.assert_close(encoder.tokens(shown, everything), encoder.tokens(shown))


def test_blocks_start_with_weights_of_their_own() -> None:
    first, second = small().blocks.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


@pytest.mark.parametrize(("size", "patch"), [(32, 4), (64, 4), (96, 16)])
def test_the_stem_decides_how_wide_a_patch_is(size: int, patch: int) -> None:
    encoder = build_encoder("vit-tiny", size)
    assert isinstance(encoder, VisionTransformer)
    assert encoder.patch == patch
    assert count_parameters(encoder) == pytest.approx(5.4e6, rel=0.03)


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 1×8 pixels are smaller than a patch of 2×2"):
        small()(images(height=1))
