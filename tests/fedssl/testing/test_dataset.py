"""The kit of data sets: each of ours keeps the contract, and each breach is found."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedssl.modalities import MODALITIES
from fedssl.testing import check_dataset
from tests.tools import breaches

HERE = breaches.__name__
DATA_SETS = [
    pytest.param({"name": name, "modality": modality}, id=name)
    for modality, found in MODALITIES.items()
    for name, kind in found.data_sets.items()
    # What is read from files is tried where these are written.
    if not ({"root", "train"} & kind.model_fields.keys())
]


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


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("other_labels", "labels go from 0 to 11, and there are 2 class names"),
        ("twice_named", "two classes have one name"),
        ("late_images", "the same row gives other examples|fetched one by one are others"),
        ("new_images", "reading twice gives different examples"),
        ("odd_field", "the field who must be int64"),
    ],
)
def test_a_breach_of_a_data_set_is_found(broken: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_dataset({"name": f"{HERE}.{broken}", "modality": "image"})


def test_a_data_set_by_its_path() -> None:
    check_dataset({"name": f"{HERE}.good_images", "modality": "image"})
