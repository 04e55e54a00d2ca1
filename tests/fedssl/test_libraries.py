"""Encoders of torchvision, and of timm, which a fake stands for."""

import sys
from types import ModuleType

import pytest
import torch
import torchvision
from torch import Tensor, nn

from fedssl.encoders import build_encoder
from fedssl.fields import nearest
from fedssl.libraries import check_name, is_of_library
from fedssl.seeding import initialising


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("resnet18", 512),
        ("mobilenet_v3_small", 1024),
        ("shufflenet_v2_x0_5", 1024),
        ("regnet_y_400mf", 440),
        ("vit_b_32", 768),
    ],
)
def test_a_torchvision_classifier_gives_the_features_under_its_last_layer(
    name: str, features: int
) -> None:
    encoder = build_encoder(f"torchvision/{name}", 64)
    assert encoder.features == features
    images = torch.rand(2, 3, 64, 64)
    before = torch.get_rng_state()
    first, second = encoder.train()(images), encoder(images)
    assert first.shape == (2, features)
    # Without dropout, or nothing could be repeated.
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def test_it_is_torchvisions_network_with_its_weights() -> None:
    with initialising(5):
        ours = build_encoder("torchvision/resnet18", 64).eval()
    with initialising(5):
        theirs = torchvision.models.resnet18(weights=None).eval()
    theirs.fc = nn.Identity()
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision/resnet19", "did you mean resnet18|did you mean resnet1"),
        ("torchvision/googlenet", "auxiliary classifiers"),
        ("torchvision/squeezenet1_0", "no linear classifier"),
    ],
)
def test_what_torchvision_has_not_is_refused(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_name(name)
    with pytest.raises(ValueError, match=f"model.encoder = {name}"):
        build_encoder(name, 32)


def test_only_these_libraries_are_meant() -> None:
    assert is_of_library("timm/resnet18.a1_in1k")
    assert not is_of_library("torchvision.models.resnet18")
    assert not is_of_library("keras/resnet")
    assert not is_of_library("timm")


def test_a_missing_timm_is_said_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm/resnet18: timm is not installed: pip install"):
        build_encoder("timm/resnet18", 32)


class Made(nn.Module):
    """What the fake makes: a convolution and dropout of several kinds."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.drop, self.path = nn.Dropout(0.5), nn.Identity()
        self.path.drop_prob = 0.3  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        dropped: Tensor = self.drop(self.conv(images)).mean((2, 3))
        return dropped


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Put a fake in timm's place, whose `vit` alone takes an image size; return what it made."""
    calls: list[dict[str, object]] = []

    def create_model(name: str, **fields: object) -> nn.Module:
        if name != "vit" and "img_size" in fields:
            raise TypeError("unexpected keyword argument 'img_size'")
        calls.append({"name": name, **fields})
        return Made(7)

    fake = ModuleType("timm")
    fake.__dict__.update(create_model=create_model, list_models=lambda: ["vit", "cnn"])
    monkeypatch.setitem(sys.modules, "timm", fake)
    return calls


def test_a_timm_model_is_made_without_weights_classifier_or_dropout(
    timm: list[dict[str, object]],
) -> None:
    encoder = build_encoder("timm/cnn.tag", 32)
    assert timm == [{"name": "cnn.tag", "pretrained": False, "num_classes": 0}]
    assert encoder.features == 7
    assert encoder.network.drop.p == 0  # type: ignore[union-attr]
    assert encoder.network.path.drop_prob == 0  # type: ignore[union-attr]
    assert encoder.training


def test_a_timm_transformer_is_made_for_the_images_size(timm: list[dict[str, object]]) -> None:
    build_encoder("timm/vit", 48)
    assert timm[0]["img_size"] == 48


@pytest.mark.parametrize("name", ["hf-hub:someone/model", "cnm"])
def test_names_that_timm_does_not_list_are_refused(
    timm: list[dict[str, object]], name: str
) -> None:
    with pytest.raises(ValueError, match="timm has no such model"):
        build_encoder(f"timm/{name}", 32)
    assert not timm
    assert nearest("cnm", ["vit", "cnn"]) == "did you mean cnn?"
