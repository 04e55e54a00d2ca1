"""Devices whose examples are series."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clients.device import Device, read_learning, write_learning
from fedssl.config import LearningConfig
from fedssl.modalities import MODALITIES, load
from fedssl.modalities.series import SERIES
from fedssl.models.blueprint import ModelBlueprint


@pytest.fixture
def devices(tmp_path: Path) -> dict[str, Path]:
    """Write the same five series in each form that a device may have."""
    series = np.round(np.random.default_rng(0).normal(size=(5, 2, 9)), 3).astype(np.float32)
    np.savez(tmp_path / "equal.npz", series=series)
    values = series.transpose(0, 2, 1).reshape(-1, 2)
    np.savez(tmp_path / "ends.npz", values=values, offsets=np.arange(6) * 9)
    lines = [":".join(",".join(map(str, channel)) for channel in one.tolist()) for one in series]
    (tmp_path / "x.ts").write_text("\n".join(["@problemName x", "@data", *lines]))
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, one in enumerate(series):
        text = "\n".join(",".join(map(str, step)) for step in one.T.tolist())
        (folder / f"{number}.csv").write_text(text)
    return {name: tmp_path / name for name in ("equal.npz", "ends.npz", "x.ts", "texts")}


def learning(**fields: Any) -> Any:
    text = {
        "data": {"name": "waves"},
        "partition": {"name": "iid", "clients": 2},
        "objective": {"name": "simclr"},
        **fields,
    }
    return LearningConfig.model_validate(text, context={"base": Path()})


@pytest.mark.parametrize("name", ["equal.npz", "ends.npz", "x.ts", "texts"])
def test_a_device_opens_its_series(devices: dict[str, Path], name: str) -> None:
    device = Device(devices[name], 0, torch.device("cpu"))
    assert device.modality is SERIES
    assert device.count() == 5
    experiment = learning()
    blueprint = ModelBlueprint.of(experiment, load(experiment.data).train)
    config = read_learning(write_learning(blueprint))
    found = device.read(config.data).fetch()
    assert found.shape == (5, 2, 128)
    with np.load(devices["equal.npz"]) as archive:
        assert np.array_equal(found[..., :9].numpy(), archive["series"])
    assert found[..., 9:].isnan().all()
    assert SERIES.preparation(config.data).constants == blueprint.preparation.constants
    assert "npz" not in json.loads(write_learning(blueprint))["data"]["name"]


def test_images_and_series_are_told_apart(
    devices: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    image = MODALITIES["image"]
    for path in devices.values():
        assert SERIES.holds(path)
        assert not image.holds(path)
    (photos / "notes.txt").write_text("1,2\n3,4")
    np.savez(tmp_path / "images.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez(tmp_path / "other.npz", words=np.zeros(3))
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.npz").write_bytes(b"PK")
    for path in (photos, *(tmp_path / n for n in ("images.npz", "other.npz", "empty", "torn.npz"))):
        device = Device(path, 0, torch.device("cpu"))
        assert device.modality is image
    with pytest.raises(ValueError, match="no array `images`"):
        Device(tmp_path / "other.npz", 0, torch.device("cpu")).count()
    assert not SERIES.holds(tmp_path / "images.npz")
    assert not SERIES.holds(tmp_path / "gone")
