"""Experiments on series, from end to end."""

from pathlib import Path

import numpy as np
import pytest

from simulations import load_experiment, run
from simulations.setup.prepare import prepare
from tests.tools.series import series_of

SMALL = [
    "rounds=2",
    "data.limit={train: 240, test: 80}",
    "evaluation.every=2",
    "engine.workers=1",
]
SERIES_CONFIG = Path(__file__).parents[2] / "configs" / "series.yaml"


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
