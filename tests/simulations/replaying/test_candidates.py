"""What the strategies that are to merge may ask for, and the notes on them."""

from pathlib import Path

import pytest

from fedssl.base.config_file import ConfigError
from fedssl.client_rules.sensitivity import Sensitivity
from simulations.record.run_folder import RunFolder
from simulations.replaying import audit, replay
from simulations.replaying.kept_round import KeptRound
from simulations.replaying.reopened_run import open_run
from strategies import LDAWA
from tests.tools.replayed_runs import make_run


def test_only_the_runs_own_strategy_has_its_fields_from_the_run(tmp_path: Path) -> None:
    # The config that a run keeps has every field written out, and L-DAWA has one of that name, too.
    run = make_run(tmp_path, "run", "strategy.weighting=examples", "rounds=1")
    with open_run(run, 1, "ldawa,fedavg", None, lambda *_: None) as reopened:
        other, own = reopened.candidates
    assert other.experiment.strategy == LDAWA.Config(weighting="uniform")
    assert own.is_own


def test_a_strategy_that_needs_what_stayed_on_clients_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, "fedbn", "strategy.name=fedbn", "rounds=1")
    with pytest.raises(ConfigError, match=r"fedavg: needs all clients' encoder\..*fedbn, leaves"):
        replay(run, 1, "fedbn,fedavg")
    assert not (run / "replays").exists()
    assert replay(run, 1).merges[0].row["train_loss"] > 0


def test_sensitivities_are_those_that_the_run_asks_for(tmp_path: Path) -> None:
    run = make_run(tmp_path, "elastic", "strategy.name=elastic", "strategy.decay=0.5", "rounds=1")
    # Else the run's own strategy would have merged other ones to what the next round starts from.
    with pytest.raises(
        ConfigError,
        match=r"sensitivity in .* \(decay 0\.5 and decay 0\.9\)",
    ):
        replay(run, 1, "fedavg,elastic(decay=0.9)")
    replay(run, 1, "fedavg")
    kept_round = KeptRound(run / "replays" / "round-1")
    assert kept_round.has_metrics_of((Sensitivity.Config(decay=0.5),))
    assert not kept_round.has_metrics_of((Sensitivity.Config(decay=0.9),))


def test_a_sensitivity_without_memory_is_one(folder: Path) -> None:
    assert replay(folder, 1, "elastic(decay=0)").merges[0].step.length > 0


@pytest.mark.slow
def test_a_strategy_that_does_not_offer_its_momentum_is_told(tmp_path: Path) -> None:
    name = "flwr.serverapp.strategy.FedAdam"
    run = make_run(tmp_path, "run", f"strategy.name={name}", "evaluation.every=1")
    replay(run, 1)
    # Not from round 1's replies on, where its momentum would be missing.
    found = replay(run, 2)
    assert found.merges[0].row["train_loss"] == RunFolder(run).read_metrics()[2]["train_loss"]
    assert len(found.notes) == 1
    assert "without declaring it" in found.notes[0]
    assert found.notes == audit(run, 2).notes


@pytest.mark.slow
def test_notes_tell_what_a_merge_alone_does_not_show(folder: Path) -> None:
    asked = "fedavg,fedprox,fedadam,fedu(threshold=0)"
    notes = replay(folder, 1, asked).notes
    assert [note.split()[0] for note in notes] == ["fedprox", "fedadam", "fedu(threshold=0)"]
    assert audit(folder, 1, asked).notes == notes


def test_statistics_of_another_kind_are_told(folder: Path) -> None:
    note = replay(folder, 1, "fedavg,fedbn").notes[-1]
    assert note.startswith("fedbn: BatchNorm's statistics stay on the clients")
    assert replay(folder, 1, "fedbn").notes == []


@pytest.mark.slow
def test_replies_of_clients_that_trained_in_another_way_are_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, "fedprox", "strategy.name=fedprox", "rounds=1")
    assert [note.split(",")[0] for note in replay(run, 1, "fedavg").notes] == ["fedprox"]
    assert replay(run, 1).notes == []
