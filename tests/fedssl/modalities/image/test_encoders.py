from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from fedssl.modalities.image.encoders import ENCODERS, build_encoder
from fedssl.networks.encoder import count_parameters


@pytest.mark.parametrize("name", [n for n in ENCODERS if "/" not in n])
@pytest.mark.parametrize("size", [32, 65])
def test_every_encoder_gives_the_features_that_it_says(name: str, size: int) -> None:
    encoder = build_encoder(name, size)
    assert encoder(torch.randn(2, 3, size, size)).shape == (2, encoder.features)


def test_the_cifar_stem_keeps_the_resolution() -> None:
    network: Any = build_encoder("resnet18", 32, stem="cifar").network
    assert network.maxpool(network.conv1(torch.randn(1, 3, 32, 32))).shape == (1, 64, 32, 32)


def test_resnet18_has_the_published_size() -> None:
    # 11,689,512 of torchvision's, less its classifier; the 3x3 stem is 64*3*(49-9) smaller.
    assert count_parameters(build_encoder("resnet18", 32, stem="imagenet")) == 11_689_512 - 513_000
    small = count_parameters(build_encoder("resnet18", 32, stem="cifar"))
    assert small == 11_689_512 - 513_000 - 64 * 3 * 40


def test_the_imagenet_stem_is_torchvisions_network() -> None:
    ours: Any = build_encoder("resnet18", 32, stem="imagenet").eval()
    theirs = torchvision.models.resnet18(weights=None).eval()
    theirs.fc = nn.Identity()
    theirs.load_state_dict(ours.network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_the_layout_is_that_of_every_map_and_changes_only_rounding(name: str) -> None:
    last, first = (build_encoder(name, 32, channels_last=c).eval() for c in (True, False))
    first.load_state_dict(last.state_dict())
    images = torch.randn(2, 3, 32, 32)
    found = []
    for encoder, layout in ((last, torch.channels_last), (first, torch.contiguous_format)):
        maps: list[torch.Tensor] = []
        for module in encoder.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_pre_hook(lambda _, inputs, maps=maps: maps.append(*inputs))
        found.append(encoder(images))
        assert maps
        assert all(seen.is_contiguous(memory_format=layout) for seen in maps)
    torch.testing.assert_close(*found)


class Tiny(nn.Module):
    features = 3

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def test_a_dotted_path_names_an_encoder_of_ones_own() -> None:
    assert isinstance(build_encoder(f"{__name__}.Tiny", 32), Tiny)


def test_a_module_without_its_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.encoder = torch\.nn\.Identity: .* `features`"):
        build_encoder("torch.nn.Identity", 32)
