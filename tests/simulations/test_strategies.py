"""Every strategy in whole runs: it runs, and goes on after a stop with the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fedssl.evaluation.subject import MeasureResult
from simulations import ConfigError, Experiment, run
from simulations.record.run_folder import RunFolder
from simulations.server import server
from strategies import FedProx
from tests.tools import custom_strategies
from tests.tools.runs import StopsAfter, same_result
from tests.tools.strategy_fields import STRATEGY_FIELDS

Small = Callable[..., Experiment]

STATEFUL = [
    *("fedadam", "fedlama", "fedu", "fedema", "moon", "encoder-only", "layer-schedule"),
    *("scaffold", "feddyn", "fedx"),
]
"""Those that keep something from round to round, on the server or on clients."""
OFTEN = ("fedadam", "fedema", "scaffold", "a server step")
"""Of those and one's own, a server's state, a client's, both, and a step of the server."""
MINE = f"strategy={{name: {custom_strategies.__name__}.Mine}}"
OWN = {
    "a rule of one's own": MINE,
    "a server step": f"strategy={{name: {custom_strategies.__name__}.Teaching}}",
}
QUICK = ("participation=1", "partition.clients=3")
"""All take part, so that each has a last visit."""


@pytest.fixture(autouse=True)
def training_alone(monkeypatch: pytest.MonkeyPatch, without_report: None) -> None:
    """Probe and draw nothing, which would take three quarters of the time."""
    monkeypatch.setattr(server, "evaluate", lambda *arguments: MeasureResult({}))


def chosen(name: str) -> str:
    return f"strategy={{name: {name}{STRATEGY_FIELDS.get(name, '')}}}"


def test_a_name_stands_for_a_strategy_with_its_defaults(small: Small) -> None:
    assert small("strategy=fedprox").strategy == FedProx.Config()
    assert small("strategy=fedprox", "strategy.mu=0.5").strategy == FedProx.Config(mu=0.5)
    with pytest.raises(ConfigError, match=r"strategy = fedprx: .* did you mean fedprox\?"):
        small("strategy=fedprx")


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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in OFTEN else [pytest.mark.slow])
        for name in (*STATEFUL, *OWN)
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(small: Small, tmp_path: Path, name: str) -> None:
    experiment = small(OWN.get(name, chosen(name)), *QUICK)
    run(experiment, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(experiment, tmp_path / "stopped", display=StopsAfter(2))
    run(experiment, tmp_path / "stopped", resume=True)
    assert same_result(tmp_path / "straight", tmp_path / "stopped")


def weights(small: Small, folder: Path, *overrides: str) -> dict[str, torch.Tensor]:
    run(small(*overrides), folder)
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_what_clients_do_for_a_strategy_changes_the_result(small: Small, tmp_path: Path) -> None:
    plain = weights(small, tmp_path / "plain", chosen("fedavg"), *QUICK, "rounds=2")
    for name in ("fedprox", "moon", "fedu", "fedema", "scaffold", "feddyn", "fedx"):
        own = weights(small, tmp_path / name, chosen(name), *QUICK, "rounds=2")
        assert any(not torch.equal(plain[tensor], own[tensor]) for tensor in plain), name


def test_a_client_rule_of_ones_own_is_followed(small: Small, tmp_path: Path) -> None:
    plain = run(small(chosen("fedavg"), *QUICK, "rounds=2"), tmp_path / "plain").metrics
    mine = run(small(MINE, *QUICK, "rounds=2"), tmp_path / "mine").metrics
    assert [row["failed"] for row in mine] == [[], [], []]
    # The float that it sends beside the model, of each of 3 clients.
    assert [m["bytes_up"] - p["bytes_up"] for m, p in zip(mine, plain, strict=True)] == [0, 12, 12]
    assert [m["bytes_down"] for m in mine] == [p["bytes_down"] for p in plain]
    sizes_of = [
        sum(float(tensor.square().sum()) for name, tensor in load_file(file).items())
        for file in (tmp_path / "plain" / "model.safetensors", tmp_path / "mine/model.safetensors")
    ]
    assert sizes_of[1] < 0.9 * sizes_of[0]


def test_a_server_step_learns_from_the_servers_examples_without_their_labels(
    small: Small, tmp_path: Path
) -> None:
    plain = weights(small, tmp_path / "plain", chosen("fedavg"), *QUICK, "rounds=1")
    custom_strategies.SEEN.clear()
    taught = weights(small, tmp_path / "taught", OWN["a server step"], *QUICK, "rounds=1")
    assert custom_strategies.SEEN == [(8, 3, 16, 16)]
    changed = {name for name in plain if not torch.equal(plain[name], taught[name])}
    assert changed == {name for name in plain if name.startswith("encoder.") and "layers.0" in name}


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
        (
            "{name: scaffold, max_update_norm: 1}",
            "max_update_norm = 1: bounds the model alone, and scaffold has clients send",
        ),
    ],
)
def test_mistakes_are_told_before_any_work(
    small: Small, tmp_path: Path, strategy: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(small(f"strategy={strategy}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
