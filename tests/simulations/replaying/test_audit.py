"""Where accuracy is lost in a merge."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedssl.base.config_file import ConfigError
from fedssl.evaluation import evaluate, gather
from fedssl.modalities import load
from fedssl.model_state import copy_into
from simulations import Run
from simulations.cli import app
from simulations.errors import RunError
from simulations.record.run_folder import RunFolder
from simulations.replaying import audit
from simulations.replaying.kept_round import KeptRound
from simulations.server.subjects import subject_of
from tests.tools.blueprints import blueprint
from tests.tools.replayed_runs import make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(
        tmp_path_factory.mktemp("runs"),
        "run",
        "evaluation.every=1",
        "evaluation.recalibrate_bn=true",
    )


@pytest.fixture(scope="module")
def fedbn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(
        tmp_path_factory.mktemp("fedbn"),
        "fedbn",
        "strategy.name=fedbn",
        "rounds=2",
        "evaluation.every=1",
    )


def test_an_audit_probes_what_the_run_did_and_more(folder: Path) -> None:
    found = audit(folder, 2, "fedavg,ldawa(warmup_rounds=0)")
    rows = RunFolder(folder).read_metrics()
    by_name = {(p.strategy, p.encoder): p.linear_accuracy for p in found.probes}
    assert by_name[None, "sent"] == rows[1]["linear_accuracy"]
    assert by_name["fedavg", "merged"] == rows[2]["linear_accuracy"]
    assert by_name["fedavg", "recalibrated"] == rows[2]["linear_accuracy_recalibrated"]
    clients = [p for p in found.probes if p.encoder.startswith("client ")]
    assert [p.encoder for p in clients] == [f"client {client}" for client in rows[2]["cohort"]]
    mean = sum(p.linear_accuracy for p in clients) / 3
    for probe in found.probes:
        assert probe.above_clients == pytest.approx(100 * (probe.linear_accuracy - mean))
        assert probe.examples[0] - 1e-9 <= probe.above_clients <= probe.examples[1] + 1e-9
    ways = [p.encoder for p in found.probes if p.strategy == "ldawa(warmup_rounds=0)"]
    assert ways == ["merged", "recalibrated", "norms restored", "both"]
    written = json.loads(found.file.read_text())
    assert len(written["probes"]) == len(found.probes) == 1 + 3 + 8
    assert found.picture.read_bytes().startswith(b"\x89PNG")


def test_an_encoder_without_statistics_is_probed_as_the_run_did(fedbn: Path) -> None:
    rows = RunFolder(fedbn).read_metrics()
    sent, *_, merged, _, _, _ = audit(fedbn, 2).probes
    assert (sent.encoder, merged.encoder) == ("sent", "merged")
    for probe, row in ((sent, rows[1]), (merged, rows[2])):
        assert probe.linear_accuracy == row["linear_accuracy"]
        assert probe.rankme == row["rankme"]


def test_clients_that_keep_batchnorm_are_probed_with_their_own(fedbn: Path) -> None:
    found = audit(fedbn, 1)
    experiment, kept_round = Run(fedbn).experiment, KeptRound(fedbn / "replays" / "round-1")
    client, _, reply = next(kept_round.models())
    own = kept_round.checkpoint().clients[client]
    model = {n.removeprefix("own "): t for n, t in own.items() if n.startswith("own ")} | reply
    encoder = blueprint(experiment, 16).build().encoder.eval()
    copy_into(
        encoder.state_dict(),
        {n.removeprefix("encoder."): t for n, t in model.items() if n.startswith("encoder.")},
    )
    splits = load(experiment.data)
    examples = gather(splits, experiment.evaluation)
    subject = subject_of(blueprint(experiment, 16), encoder, splits, examples, None)
    expected = evaluate(subject).figures
    probe = next(p for p in found.probes if p.encoder == f"client {client}")
    assert probe.rankme == expected["rankme"]
    assert probe.linear_accuracy == expected["linear_accuracy"]


@pytest.mark.slow
def test_an_encoder_that_is_of_no_use_is_told(fedbn: Path) -> None:
    run = make_run(fedbn.parent, "fedavg", "rounds=1")
    with pytest.raises(RunError, match=r"Infinite gave a model .*weight is infinite or NaN"):
        audit(run, 1, "tests.tools.replayed_strategies.Infinite")


def test_examples_without_labels_are_told_before_any_work(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", "rounds=1")
    with np.load(tmp_path / "test.npz") as file:
        examples = file["images"]
    np.savez(tmp_path / "test.npz", images=examples)
    with pytest.raises(ConfigError, match="have none"):
        audit(run, 1)
    assert not (run / "replays").exists()


def test_the_command_prints_a_table(folder: Path) -> None:
    result = CliRunner().invoke(app, ["audit", str(folder), "--round", "1"])
    assert result.exit_code == 0, result.output
    assert "norms restored" in result.stdout
    assert "above clients" in result.stdout
