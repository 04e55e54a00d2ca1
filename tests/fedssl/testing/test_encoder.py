"""The kit of encoders: each of ours keeps the contract, and each breach is found."""

import pytest

from fedssl.modalities import MODALITIES
from fedssl.testing import check_encoder
from tests.tools import breaches

LARGE = {"resnet18", "resnet34", "resnet50", "vit-tiny"}
MEMBERS = {"torchvision/NAME": "torchvision/shufflenet_v2_x0_5"}
"""One of each family; timm's would have to be installed."""
ENCODERS = [
    pytest.param(
        modality,
        MEMBERS.get(name, name),
        id=f"{modality}-{name.replace('/', '-')}",
        marks=[pytest.mark.slow] if name in LARGE else [],
    )
    for modality, found in MODALITIES.items()
    for name in found.encoders
    if name in MEMBERS or "/" not in name
]


@pytest.mark.parametrize(("modality", "name"), ENCODERS)
def test_every_encoder(modality: str, name: str) -> None:
    check_encoder(name, modality)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("Together", "in eval mode features depend on the rest of the batch"),
        ("Dropping", "draws from torch's global generator in training"),
        ("Hidden", "with its state_dict another one gives other features"),
        ("Moving", "in eval mode a forward pass changes a tensor: see seen"),
    ],
)
def test_a_breach_is_found(broken: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_encoder(getattr(breaches, broken))


def test_what_is_broken_there_is_whole_by_its_class_and_by_its_path() -> None:
    check_encoder(breaches.Flat)
    check_encoder(f"{breaches.__name__}.Flat")
