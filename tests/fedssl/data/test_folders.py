"""The training and the test files of a set whose examples are files."""

from pathlib import Path

import pytest
import torch

from fedssl.modalities import load
from fedssl.modalities.image.data.folder import Folder
from tests.tools.image_folders import draw_classes, draw_image


def test_without_a_test_folder_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    config = Folder(train=draw_classes(tmp_path, "ab", 10))
    splits = load(config)
    assert torch.bincount(splits.train.labels).tolist() == [8, 8]
    assert torch.bincount(splits.test.labels).tolist() == [2, 2]
    both = torch.cat([splits.train.fetch(), splits.test.fetch()]).numpy()
    assert len({image.tobytes() for image in both}) == 20
    assert torch.equal(load(config).test.fetch(), splits.test.fetch())


def test_only_what_the_limit_keeps_is_decoded(tmp_path: Path) -> None:
    train = draw_classes(tmp_path / "train", "ab", 10)
    config = Folder(train=train, test=train)
    whole = load(config).train.fetch().flatten(1).tolist()
    limited = {"limit": {"train": 4, "test": 2}}
    splits = load(Folder(train=train, test=train, **limited))  # type: ignore[arg-type]
    kept = [whole.index(image) for image in splits.train.fetch().flatten(1).tolist()]
    tested = [whole.index(image) for image in splits.test.fetch().flatten(1).tolist()]
    assert splits.train.labels.tolist() == [0, 0, 1, 1]
    for number, path in enumerate(sorted(train.rglob("*.png"))):
        if number not in kept + tested:
            path.write_bytes(b"broken")
    again = load(Folder(train=train, test=train, **limited))  # type: ignore[arg-type]
    assert torch.equal(again.train.fetch(), splits.train.fetch())


def test_domains_are_chosen_for_training_and_for_testing(tmp_path: Path) -> None:
    for number, domain in enumerate(("cartoon", "photo", "sketch")):
        for label, name in enumerate("ab"):
            for image in range(5):
                draw_image(
                    tmp_path / domain / name / f"{image}.png", 100 * number + 10 * label + image
                )
    section = {
        "train": tmp_path,
        "where": {"domain": ["photo", "cartoon"]},
        "test_where": {"domain": "sketch"},
    }
    splits = load(Folder.model_validate(section))
    assert (len(splits.train), len(splits.test)) == (20, 10)
    names = [splits.test.name_of("domain", int(v)) for v in splits.test.fields["domain"]]
    assert names == ["sketch"] * 10
    assert {splits.train.name_of("domain", int(v)) for v in splits.train.fields["domain"]} == {
        "photo",
        "cartoon",
    }
    splits = load(Folder.model_validate({**section, "test_where": {}}))
    assert (len(splits.train), len(splits.test)) == (16, 6)
    splits = load(Folder.model_validate({**section, "test": tmp_path}))
    assert (len(splits.train), len(splits.test)) == (20, 10)
    for where, message in (
        ({"domain": "photos"}, r"data\.where\.domain = photos: .* did you mean photo\?"),
        ({"camera": "x"}, r"data\.where\.camera: the examples have the columns domain"),
    ):
        with pytest.raises(ValueError, match=message):
            load(Folder.model_validate({**section, "where": where}))
