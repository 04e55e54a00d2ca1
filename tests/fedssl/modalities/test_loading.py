"""What holds for every data set: the config, the choice by name, limits, sizes, refusals."""

import sys
import types
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torchvision.transforms.v2 import functional as reference

from fedssl.data import DataConfig, Dataset, Splits
from fedssl.data.select import balanced, hold_out
from fedssl.modalities import DATA_SETS, load
from tests.tools.datasets import random_dataset

SECTION: TypeAdapter[DataConfig] = TypeAdapter(Annotated[DataConfig, DATA_SETS])


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A user's module, importable as `my_sets`."""
    made = types.ModuleType("my_sets")
    monkeypatch.setitem(sys.modules, "my_sets", made)
    return made


def read(module: types.ModuleType, train: Dataset, test: Dataset, **section: Any) -> Splits:
    module.__dict__["mine"] = lambda: Splits(train, test)
    return load(SECTION.validate_python({"name": "my_sets.mine", **section}))


def test_every_set_is_documented_and_picked_by_its_name() -> None:
    both, one = {"train": "a", "test": "b"}, {"train": "a"}
    needs: dict[str, Any] = {
        **dict.fromkeys(("npz", "series-npz", "series-ts"), both),
        **dict.fromkeys(("folder", "series-csv"), one),
    }
    for name, config in DATA_SETS.choices.models.items():
        picked = SECTION.validate_python({"name": name, **needs.get(name, {})})
        assert type(picked) is config
        assert picked.name == name
        assert (config.__doc__ or "").splitlines()[0].endswith(".")
        for field in config.model_fields.values():
            assert field.description


@pytest.mark.parametrize(
    "section",
    [
        {"name": "mnist1d"},
        {"name": "glyphs", "sise": 3},
        {"name": "glyphs", "size": 0},
        {"name": "glyphs", "limit": {"train": 0}},
        {"name": "glyphs", "limit": {"validation": 3}},
        {"name": "glyphs", "mean": [0.1, 0.2]},
        {"name": "glyphs", "std": [0.1, 0.0, 0.1]},
        {"name": "glyphs", "std": []},
        {"name": "glyphs", "mean": [float("nan")]},
        {"name": "npz", "test": "a.npz"},
        {"name": "glyphs", "size": 2049},
        {"name": "glyphs", "where": {"font": [1.5]}},
        {"name": "folder", "train": "a", "max_pixels": 10**9},
        {"name": "folder", "train": "a", "background": "whiteish"},
    ],
)
def test_sections_that_make_no_sense_are_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SECTION.validate_python(section)


def test_a_custom_set_gets_its_own_fields(module: types.ModuleType) -> None:
    def mine(count: int, scanner: str = "x") -> Splits:
        assert scanner == "y"
        return Splits(random_dataset(count), random_dataset(6))

    module.__dict__["mine"] = mine
    section = {"name": "my_sets.mine", "count": 9, "scanner": "y", "limit": {"test": 4}}
    splits = load(SECTION.validate_python(section))
    assert len(splits.train) == 9
    assert len(splits.test) == 4


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda other: Splits(random_dataset(), random_dataset()),
            r"data\.name = my_sets\.mine does not fit",
        ),
        (
            lambda count: (random_dataset(), random_dataset()),
            r"returned a tuple: return fedssl\.data\.Splits",
        ),
        (7, r"data\.name = my_sets\.mine is a int: not callable"),
    ],
)
def test_a_custom_set_that_does_not_fit_is_refused(
    module: types.ModuleType, function: Any, message: str
) -> None:
    module.__dict__["mine"] = function
    with pytest.raises(ValueError, match=message):
        load(SECTION.validate_python({"name": "my_sets.mine", "count": 3}))


def test_grey_examples_get_three_channels(module: types.ModuleType) -> None:
    grey, colour = random_dataset(channels=1), random_dataset()
    splits = read(module, grey, colour)
    assert splits.train.examples.shape == (12, 3, 8, 8)
    assert splits.train.fetch().is_contiguous()
    for channel in range(3):
        assert torch.equal(splits.train.fetch()[:, channel], grey.fetch()[:, 0])
    assert torch.equal(splits.test.fetch(), colour.fetch())


@pytest.mark.parametrize("size", [5, 8, 20])
def test_examples_are_resized_as_torchvision_does(module: types.ModuleType, size: int) -> None:
    data = random_dataset(side=8)
    wide = Dataset(data.fetch().repeat(1, 1, 1, 2), data.labels, data.class_names)
    splits = read(module, data, wide, size=size)
    for ours, source in ((splits.train, data), (splits.test, wide)):
        expected = reference.resize(source.fetch(), [size, size], antialias=True)
        assert ours.fetch().dtype == torch.uint8
        assert (ours.fetch().int() - expected.int()).abs().max() <= 1


def test_limits_keep_the_order_and_all_that_is_known(module: types.ModuleType) -> None:
    data = random_dataset(60)
    splits = read(module, data, random_dataset(), limit={"train": 7, "test": 5000})
    kept = [
        next(i for i in range(60) if torch.equal(data.fetch()[i], example))
        for example in splits.train.fetch()
    ]
    assert kept == sorted(set(kept))
    assert len(kept) == 7
    assert splits.train.labels.tolist() == [i % 3 for i in kept]
    assert splits.train.fields["camera"].tolist() == [i % 2 for i in kept]
    assert len(splits.test) == 12


@pytest.mark.parametrize("limit", [1, 2, 9, 17, 30, 59, 60, 61])
def test_limits_are_as_even_over_the_classes_as_can_be(limit: int) -> None:
    sizes = [3, 40, 10, 7]  # one class more for the unlabelled
    labels = np.random.default_rng(0).permutation(np.repeat([-1, 0, 1, 2], sizes))
    index = balanced(labels, limit)
    assert len(set(index.tolist())) == len(index) == min(limit, 60)
    counts = np.bincount(labels[index] + 1, minlength=4)
    # Fill by hand: one example at a time, always to the class that has least and is not empty.
    fill = [0, 0, 0, 0]
    for _ in range(len(index)):
        open_classes = [c for c in range(4) if fill[c] < sizes[c]]
        fill[min(open_classes, key=lambda c: fill[c])] += 1
    assert sorted(counts - fill) in ([0, 0, 0, 0], [-1, 0, 0, 1], [-1, -1, 1, 1])


def test_a_smaller_limit_keeps_a_part_of_what_a_larger_one_keeps() -> None:
    labels = np.random.default_rng(1).integers(0, 5, 200)
    small, large = (set(balanced(labels, limit).tolist()) for limit in (40, 90))
    assert small < large


def test_a_fifth_of_each_class_is_held_out() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([-1, 0, 1], [50, 100, 10]))
    kept, held = hold_out(labels)
    assert sorted([*kept, *held]) == list(range(160))
    assert np.bincount(labels[held] + 1).tolist() == [10, 20, 2]
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()


def changed(**parts: Any) -> Dataset:
    data = random_dataset()
    given = {"labels": data.labels, "class_names": data.class_names, "fields": data.fields, **parts}
    return Dataset(given.pop("examples", data.fetch()), **given)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(examples=random_dataset().fetch().float()), r"train images are torch\.float32"),
        (
            changed(examples=random_dataset(channels=1).fetch()[:, 0]),
            r"must be uint8 \[N, 3, H, W\]",
        ),
        (changed(examples=random_dataset().fetch().repeat(1, 2, 1, 1)[:, :4]), r"\[12, 4, 8, 8\]"),
        (random_dataset().take(np.array([], np.int64)), "train has no images"),
        (changed(labels=torch.zeros(11, dtype=torch.int64)), r"must be int64 \[12\]"),
        (changed(labels=random_dataset().labels.int()), r"labels are torch\.int32"),
        (
            changed(labels=random_dataset().labels + 1),
            "labels go from 1 to 3, but there are 3 class names",
        ),
        (changed(labels=random_dataset().labels - 2), "labels go from -2 to 0"),
        (changed(fields={"camera": np.arange(11)}), "train field camera is int64"),
        (changed(class_names=("a", "b", "d")), r"data\.test: its classes \(a, b, c\) are not"),
        (random_dataset(side=9), r"data\.size is needed, .* 9×9 and the test images 8×8"),
    ],
)
def test_malformed_sets_are_refused(module: types.ModuleType, data: Dataset, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(module, data, random_dataset())
