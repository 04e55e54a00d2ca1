"""Encoders of torchvision, and of timm, which a fake stands for where it is not installed."""

import importlib.util
import sys

import pytest
import torch
import torchvision
from torch import nn

from fedssl.base.fields import suggest_name
from fedssl.base.seeding import seeded_initialisation
from fedssl.modalities.image.encoders import ENCODERS, build_encoder
from fedssl.modalities.image.library_encoders import Timm


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
    with seeded_initialisation(5):
        ours = build_encoder("torchvision/resnet18", 64).eval()
    with seeded_initialisation(5):
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
        build_encoder(name, 32)


def test_only_these_libraries_are_meant() -> None:
    assert ENCODERS.builtin("timm/resnet18.a1_in1k") is Timm
    for name in ("torchvision.models.resnet18", "keras/resnet", "timm"):
        assert name not in ENCODERS


def test_a_missing_timm_is_said_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm/resnet18: timm is not installed: pip install"):
        build_encoder("timm/resnet18", 32)


def test_a_timm_model_is_made_without_weights_classifier_or_dropout(
    timm: list[dict[str, object]],
) -> None:
    encoder = build_encoder("timm/cnn.tag", 32)
    assert timm == [{"name": "cnn.tag", "pretrained": False, "num_classes": 0}]
    assert encoder.features == 7
    assert encoder.network.drop.p == 0  # type: ignore[union-attr]
    assert encoder.network.path.drop_prob == 0  # type: ignore[union-attr]
    assert encoder.training
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(encoder(images), encoder(images))


def test_a_timm_transformer_is_made_for_the_images_size(timm: list[dict[str, object]]) -> None:
    build_encoder("timm/vit", 48)
    assert timm[0]["img_size"] == 48


@pytest.mark.parametrize("name", ["timm/cnn", "torchvision/alexnet"])
def test_images_that_are_too_small_for_a_model_are_refused(
    timm: list[dict[str, object]], name: str
) -> None:
    with pytest.raises(ValueError, match=rf"model.encoder = {name}: takes no images of 2 pixels"):
        build_encoder(name, 2)


@pytest.mark.parametrize("name", ["hf-hub:someone/model", "cnm"])
def test_names_that_timm_does_not_list_are_refused(
    timm: list[dict[str, object]], name: str
) -> None:
    with pytest.raises(ValueError, match="timm has no such model"):
        build_encoder(f"timm/{name}", 32)
    assert not timm
    assert suggest_name("cnm", ["vit", "cnn"]) == "did you mean cnn?"


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs timm")
@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "test_efficientnet", "ghostnet_050"])
def test_timms_own_models_train_without_a_random_draw(name: str) -> None:
    encoder = build_encoder(f"timm/{name}", 32)
    images = torch.rand(2, 3, 32, 32)
    before = torch.get_rng_state()
    assert encoder(images).shape == (2, encoder.features)
    assert torch.equal(before, torch.get_rng_state())
