"""Every strategy through the front door: it runs, and goes on after a stop with the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from simulations import ConfigError, Experiment, run
from simulations.run_folder import RunFolder
from tests.simulations.test_runner import StopsAfter, same_result

Small = Callable[..., Experiment]

FIELDS: dict[str, str] = {
    "krum": ", byzantine: 0",
    "multikrum": ", byzantine: 0",
    "bulyan": ", byzantine: 0",
    "layer-schedule": ", every: {encoder.layers.0: 2, predictor: 0}",
    "fedu": ", threshold: 0.001",
    "fedema": ", tau: 0.5",
}
STATEFUL = ["fedadam", "fedlama", "fedu", "fedema", "moon", "encoder-only", "layer-schedule"]
"""Those that keep something from round to round, on the server or on clients."""
QUICK = ("participation=1", "partition.clients=3")
"""All take part, so that each has a last visit."""


@pytest.fixture(autouse=True)
def training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe and draw nothing, which would take three quarters of the time."""
    monkeypatch.setattr("simulations.server.evaluate", lambda *arguments: {})
    monkeypatch.setattr("simulations.runner.report", lambda folder: None)


def chosen(name: str) -> str:
    return f"strategy={{name: {name}{FIELDS.get(name, '')}}}"


@pytest.mark.parametrize(
    "name", ["loss-weighted", "fedprox", "krum", "fedvssl", "fednova", "elastic"]
)
def test_it_runs_for_two_rounds(small: Small, tmp_path: Path, name: str) -> None:
    finished = run(small(chosen(name), *QUICK, "rounds=2"), tmp_path / "run")
    metrics = finished.metrics
    assert np.isfinite([row["train_loss"] for row in metrics[1:]]).all()
    assert [row["failed"] for row in metrics] == [[], [], []]


@pytest.mark.parametrize("name", ["fedavg", "ldawa", "fedadam", "krum", "fedlama"])
def test_it_runs_without_batchnorm(small: Small, tmp_path: Path, name: str) -> None:
    finished = run(small(chosen(name), *QUICK, "rounds=1", "model.norm=group"), tmp_path / "run")
    assert np.isfinite(finished.metrics[1]["train_loss"])
    examples = torch.rand(3, 3, 16, 16)
    encoder = finished.encoder()
    assert not list(encoder.buffers())
    # No example depends on another, also in training.
    torch.testing.assert_close(encoder.train()(examples)[:1], encoder(examples[:1]))


def test_without_batchnorm_fedbn_says_that_nothing_could_stay_local(
    small: Small, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no BatchNorm .* \(model\.norm: group"):
        run(small(chosen("fedbn"), "model.norm=group"), tmp_path / "run")


@pytest.mark.parametrize("name", STATEFUL)
def test_a_resumed_run_equals_an_uninterrupted_one(small: Small, tmp_path: Path, name: str) -> None:
    experiment = small(chosen(name), *QUICK)
    run(experiment, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(experiment, tmp_path / "stopped", display=StopsAfter(2))
    run(experiment, tmp_path / "stopped", resume=True)
    assert same_result(tmp_path / "straight", tmp_path / "stopped")


def weights(small: Small, folder: Path, *overrides: str) -> dict[str, torch.Tensor]:
    run(small(*overrides), folder)
    return load_file(folder / "model.safetensors")


def test_what_clients_do_for_a_strategy_changes_the_result(small: Small, tmp_path: Path) -> None:
    plain = weights(small, tmp_path / "plain", chosen("fedavg"), *QUICK, "rounds=2")
    for name in ("fedprox", "moon", "fedu", "fedema"):
        own = weights(small, tmp_path / name, chosen(name), *QUICK, "rounds=2")
        assert any(not torch.equal(plain[tensor], own[tensor]) for tensor in plain), name


def sizes(small: Small, folder: Path, name: str) -> list[dict[str, Any]]:
    return run(small(chosen(name), *QUICK), folder).metrics[1:]


def test_what_stays_on_clients_is_not_sent(small: Small, tmp_path: Path) -> None:
    whole = sizes(small, tmp_path / "whole", "fedavg")
    encoder = sizes(small, tmp_path / "encoder", "encoder-only")
    table = sizes(small, tmp_path / "table", "layer-schedule")
    assert all(row["bytes_up"] == row["bytes_down"] for row in [*whole, *encoder])
    assert all(e["bytes_up"] < w["bytes_up"] for e, w in zip(encoder, whole, strict=True))
    # The first convolution, 3·32·9 floats, comes up from each of 3 clients every second round.
    assert [row["bytes_down"] - row["bytes_up"] for row in table] == [3 * 4 * 864, 0, 3 * 4 * 864]
    assert table[0]["bytes_down"] < whole[0]["bytes_down"]


def test_heads_that_stay_are_not_in_the_divergence(small: Small, tmp_path: Path) -> None:
    run(small(chosen("encoder-only"), "rounds=1"), tmp_path / "run")
    lines = RunFolder(tmp_path / "run").divergence.read_text().splitlines()[1:]
    tensors = {line.split(",")[2] for line in lines}
    assert tensors
    assert all(tensor.startswith("encoder.") for tensor in tensors)
    assert len(lines) == 2 * len(tensors)


def test_fedbns_global_encoder_is_measured_with_statistics_of_its_own(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    overrides = (chosen("fedbn"), "objective.name=simclr", "evaluation.recalibrate_bn=true")
    finished = run(small(*overrides, "rounds=1"), tmp_path / "run")
    for row in finished.metrics:
        assert row["linear_accuracy"] == row["linear_accuracy_recalibrated"]
    norm = "encoder.layers.1."
    stored = load_file(tmp_path / "run" / "model.safetensors")
    assert torch.equal(stored[norm + "weight"], torch.ones(32))
    assert not torch.equal(stored[norm + "running_var"], torch.ones(32))


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("{name: layer-schedule, every: {encoder.nowhere: 2}}", "no such layer.*encoder.layers.0"),
        ("{name: fedlws, least: 0.5}", "least = 0.5: must not be above"),
        ("{name: fedema, tau: 0}", "greater than 0"),
        ("{name: bulyan}", "needs at least 7"),
    ],
)
def test_mistakes_are_told_before_any_work(
    small: Small, tmp_path: Path, strategy: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(small(f"strategy={strategy}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
