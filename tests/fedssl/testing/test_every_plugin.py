"""Every plug-in of every registry keeps its contract: a new one is checked with no edit here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedssl.client_rules import CLIENT_RULES
from fedssl.evaluation import MEASURES
from fedssl.modalities import MODALITIES
from fedssl.objectives import OBJECTIVES, TERMS
from fedssl.partitions import PARTITIONS
from fedssl.testing import (
    check_client_rule,
    check_dataset,
    check_encoder,
    check_measure,
    check_objective,
    check_partition,
    check_term,
)

PARTITION_FIELDS: dict[str, dict[str, Any]] = {
    "dirichlet": {"alpha": 0.5},
    "shards": {"shards_per_client": 2},
    "classes": {"classes_per_client": 2},
    "quantity": {"alpha": 1.0},
    "natural": {"field": "group"},
}
"""What has no default."""
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
DATA_SETS = [
    pytest.param({"name": name, "modality": modality}, id=name)
    for modality, found in MODALITIES.items()
    for name, kind in found.data_sets.items()
    # What is read from files is tried where these are written.
    if not ({"root", "train"} & kind.model_fields.keys())
]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective(name: str) -> None:
    check_objective(name)


@pytest.mark.parametrize("name", TERMS)
def test_every_term(name: str) -> None:
    check_term(name)


@pytest.mark.parametrize(("modality", "name"), ENCODERS)
def test_every_encoder(modality: str, name: str) -> None:
    check_encoder(name, modality)


@pytest.mark.parametrize("name", CLIENT_RULES)
def test_every_client_rule(name: str) -> None:
    check_client_rule(name)


@pytest.mark.parametrize("name", PARTITIONS)
def test_every_partition(name: str) -> None:
    check_partition(name, **PARTITION_FIELDS.get(name, {}))


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure(name: str) -> None:
    try:
        check_measure(name)
    except ValueError as error:
        if "which is not installed" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize("section", DATA_SETS)
def test_every_data_set_that_needs_no_files(section: dict[str, object]) -> None:
    check_dataset(section)


def test_an_archive_and_a_folder_of_images(
    tmp_path: Path, write_npz: Callable[..., Path], photos: Path
) -> None:
    write_npz("train.npz", 30)
    write_npz("test.npz", 12, seed=1)
    check_dataset({"name": "npz", "train": "train.npz", "test": "test.npz"}, tmp_path)
    # On demand: what does not fit into memory.
    check_dataset({"name": "folder", "train": str(photos), "size": 16})
