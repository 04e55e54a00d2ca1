"""Series as a modality: what is checked, devices, the sheet, and an experiment from end to end."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clients.device import Device, as_text, from_text
from fedssl.blueprint import ModelBlueprint
from fedssl.data import Dataset, Splits
from fedssl.modalities import MODALITIES, load
from fedssl.modalities.series import SERIES
from fedssl.modalities.series.data.config import OwnSeries
from fedssl.modalities.series.data.npz import SeriesNpz
from fedssl.modalities.series.sheet import ROWS
from fedssl.testing import check_modality
from simulations import load_experiment, run
from simulations.experiment import Experiment
from simulations.prepare import prepare
from tests.fedssl.modalities.series.tools import series_of

HERE = "tests.fedssl.modalities.series.test_series"


def test_it_keeps_the_contract_of_modalities() -> None:
    check_modality("series", {"name": "waves", "limit": {"train": 32, "test": 16}})


class OnDemand:
    """Fetches series of two channels, ten steps each."""

    shape: Sequence[int] = (30, 2, 10)

    def __init__(self, value: float = 1.0):
        self.value = value

    def __getitem__(self, rows: Tensor) -> Tensor:
        return rows[:, None, None].float().expand(-1, 2, 10) * self.value


def own_series(value: float = 1.0) -> Splits:
    part = Dataset(OnDemand(value), torch.arange(30) % 3, ("a", "b", "c"))
    return Splits(part, part)


def own(length: int | None = None, **fields: Any) -> OwnSeries:
    return OwnSeries.model_validate(
        {"name": f"{HERE}.own_series", "modality": "series", "length": length, **fields}
    )


def test_series_of_ones_own_may_be_on_demand() -> None:
    splits = load(own(length=12, limit={"train": 6}))
    assert list(splits.train.examples.shape) == [6, 2, 12]
    some = splits.train.fetch(np.array([1]))
    assert torch.unique(some[..., :10]).numel() == 1
    assert some[..., 10:].isnan().all()
    with pytest.raises(ValueError, match="train: series 0 has no value at all"):
        load(own(value=float("nan")))


def by_hand(examples: Any) -> Splits:
    part = Dataset(examples, torch.zeros(len(examples), dtype=torch.int64), ("a",))
    return Splits(part, part)


def test_stored_series_are_float32() -> None:
    good = by_hand(torch.zeros(2, 1, 3)).train
    SERIES.check(good, "x")
    for wrong in (torch.zeros(2, 3), torch.zeros(2, 1, 3).double(), torch.zeros(2, 0, 3)):
        with pytest.raises(ValueError, match=r"series are .*: they must be float32 \[N, C, T\]"):
            SERIES.check(by_hand(wrong).train, "x")


def test_preparation_standardises_by_channel_and_leaves_nan() -> None:
    config = own(mean=(1.0, 2.0), std=(2.0, 4.0))
    series = torch.tensor([[[1.0, 3.0, torch.nan], [2.0, torch.nan, 10.0]]])
    prepared = SERIES.preparation(config)(series)
    expected = torch.tensor([[[0.0, 1.0, torch.nan], [0.0, torch.nan, 2.0]]])
    torch.testing.assert_close(prepared, expected, equal_nan=True)
    assert series[0, 0, 1] == 3


def test_a_mean_of_two_series_is_not_there_where_either_is_not() -> None:
    assert SERIES.mixes
    assert not SERIES.turns
    one, other = series_of(4, 2, 12, 0), series_of(4, 2, 12, 1)
    mean = 0.3 * one + 0.7 * other
    assert torch.equal(mean.isnan(), one.isnan() | other.isnan())


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
    return Experiment.model_validate(text, context={"base": Path()})


@pytest.mark.parametrize("name", ["equal.npz", "ends.npz", "x.ts", "texts"])
def test_a_device_opens_its_series(devices: dict[str, Path], name: str) -> None:
    device = Device(devices[name], 0, torch.device("cpu"))
    assert device.modality is SERIES
    assert device.count() == 5
    experiment = learning()
    blueprint = ModelBlueprint.of(experiment, load(experiment.data).train)
    config = from_text(as_text(blueprint))
    found = device.read(config.data).fetch()
    assert found.shape == (5, 2, 128)
    with np.load(devices["equal.npz"]) as archive:
        assert np.array_equal(found[..., :9].numpy(), archive["series"])
    assert found[..., 9:].isnan().all()
    assert SERIES.preparation(config.data).constants == blueprint.preparation.constants
    assert "npz" not in json.loads(as_text(blueprint))["data"]["name"]


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


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_the_sheet_has_a_line_for_each_channel(channels: int) -> None:
    config = SeriesNpz(train=Path("x"), mean=(1.0,), std=(2.0,))
    series = series_of(20, channels, 30)
    views = [SERIES.preparation(config)(series), torch.randn(20, channels, 68)]
    figure = SERIES.sheet(series, views, config)
    assert len(figure.axes) == 3 * ROWS
    lines = figure.axes[0].get_lines()
    assert len(lines) == channels
    expected = ((series[0, 0] - 1) / 2).numpy()
    assert np.allclose(np.asarray(lines[0].get_ydata(), float), expected, equal_nan=True)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title for title in titles if title] == ["series", "view 1", "view 2"]
    content = io.BytesIO()
    figure.savefig(content, format="png")
    assert content.getvalue().startswith(b"\x89PNG")


SMALL = [
    "rounds=2",
    "data.limit={train: 240, test: 80}",
    "evaluation.every=2",
    "engine.workers=1",
]
SERIES_CONFIG = Path(__file__).parents[4] / "configs" / "series.yaml"


def test_e_ssl_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="series have no turns to be told apart; leave it out"):
        prepare(load_experiment(SERIES_CONFIG, [*SMALL, "objective.terms=[{name: e-ssl}]"]))


def test_another_modalitys_section_is_refused() -> None:
    for override, told in [
        ("model.encoder=resnet18", "there is no such choice"),
        ("views=byol", "there is no such policy"),
        ("data.size=32", "data.size"),
    ]:
        with pytest.raises(ValueError, match=told):
            load_experiment(SERIES_CONFIG, [override])


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["views=frames", "objective={name: mv-infonce}"],
        ["objective={name: mixed-barlow}", "model.norm=group"],
        ["views=[{name: mask}, {name: time-warp}]", "objective={name: byol}"],
    ],
)
@pytest.mark.slow
def test_experiments_run(tmp_path: Path, overrides: list[str]) -> None:
    finished = run(load_experiment(SERIES_CONFIG, [*SMALL, *overrides]), out=tmp_path / "run")
    assert [row["round"] for row in finished.metrics] == [0, 1, 2]
    assert np.isfinite(finished.metrics[-1]["train_loss"])
    assert finished.encoder()(series_of(2, 3, 50)).shape == (2, 128)


@pytest.mark.slow
def test_mae_learns_to_rebuild_waves(tmp_path: Path) -> None:
    overrides = [
        "rounds=3",
        "data.limit={train: 800, test: 200}",
        "objective={name: mae}",
        "model={encoder: patch-transformer}",
        "views=weak",
        "client={optimizer: adamw, lr: 0.002, batch_size: 32}",
        "evaluation.every=3",
    ]
    finished = run(load_experiment(SERIES_CONFIG, overrides), out=tmp_path / "run")
    losses = [row["train_loss"] for row in finished.metrics[1:]]
    assert losses[-1] < losses[0] < 1.2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_config_learns_ten_points(tmp_path: Path) -> None:
    finished = run(load_experiment(SERIES_CONFIG), out=tmp_path / "run")
    first, last = (finished.metrics[n]["linear_accuracy"] for n in (0, -1))
    assert first <= 0.7
    assert last >= first + 0.1
