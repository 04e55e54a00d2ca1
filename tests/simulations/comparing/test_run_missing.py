"""Comparisons by the public API: what runs, what fails, and what is run again."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from simulations.comparing import Request, compare, make_plan, worker
from simulations.record.lock import lock_folder
from simulations.record.run_folder import RunFolder
from simulations.running.run import run
from tests.tools.command import fedssl
from tests.tools.comparisons import findings
from tests.tools.tiny_comparison import FAILS, GRID


def test_one_that_fails_is_told_and_does_not_stop_the_rest(compared: tuple[Path, Result]) -> None:
    out, result = compared
    assert result.exit_code == 1
    failed = f"runs/{FAILS}/partition.alpha=0.5/seed-3"
    assert f"{failed}: failed: round 1: the strategy {FAILS} failed: it <always> fails" in (
        result.output
    )
    assert "4 runs failed; the same command tries them again" in result.stderr
    line = findings(out)[FAILS, "0.5"]
    assert line["seeds"] == []
    assert line["verdict"] == "incomplete, so not tested: it lacks 2 of its runs"
    assert len(list((out / "failed").rglob("*.txt"))) == 4
    page = (out / "report.html").read_text()
    assert "it &lt;always&gt; fails" in page


def test_parts_of_the_runs_are_all_runs_each_once(tiny: Path) -> None:
    plan = make_plan(Request(Path("tiny.yaml"), "fedavg,uniform", 1, ["rounds=1"]))
    compare(plan, tiny, shard=(2, 2))
    assert [run.folder for run in plan.runs if (tiny / run.folder).exists()] == [
        "runs/uniform/seed-3"
    ]
    compare(plan, tiny, shard=(1, 2))
    assert all((tiny / run.folder / "summary.json").exists() for run in plan.runs)


@pytest.mark.slow
def test_what_is_done_is_not_run_again_and_what_failed_is(
    grid_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = grid_folder
    tried = []
    real = run

    def noted(experiment: Any, folder: Path, **options: Any) -> Any:
        tried.append(str(folder.relative_to(out.relative_to(Path.cwd()))))
        return real(experiment, folder, **options)

    monkeypatch.setattr(worker, "run", noted)
    result = fedssl("compare", "tiny.yaml", *GRID)
    assert result.exit_code == 1
    assert {name.split("/")[1] for name in tried} == {FAILS}
    assert len(tried) == 4
    Path("mended").touch()
    assert fedssl("compare", "tiny.yaml", *GRID).exit_code == 0
    assert not list((out / "failed").rglob("*.txt"))
    assert len(findings(out)[FAILS, "100"]["by_seed"]) == 2
    Path("mended").unlink()


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["compare", "tiny.yaml", "rounds=1", "--strategies", "fedavg,uniform"]
    command += ["--seeds", "1", "--out", str(tiny)]
    real, tried = run, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        tried.append(arguments)
        if len(tried) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(worker, "run", interrupted)
    result = fedssl(*command)
    assert result.exit_code == 130
    assert "stopped; go on with: fedssl" in result.stderr
    assert len(list((tiny / "runs").rglob("summary.json"))) == 1
    assert fedssl("report", tiny).exit_code == 0
    assert "1 of 2 runs are done." in (tiny / "report.html").read_text()
    result = fedssl(*command)
    assert result.exit_code == 0, result.output
    assert "2 runs, 1 of them done before" in result.output
    assert len(tried) == 3


@pytest.mark.slow
def test_fields_are_tuned_on_examples_that_are_neither_fitted_on_nor_tested(tiny: Path) -> None:
    # A learning rate of 0 leaves the encoder untrained, and one of 1e30 makes it infinite.
    command = ["compare", "tiny.yaml", "rounds=1", "--strategies", "fedavg,uniform"]
    command += ["--seeds", "1", "--tune", "client.lr=0.05,1e30,0.0", "--out", str(tiny)]
    first = fedssl(*command, "--only", "2/2")
    assert first.exit_code == 0, first.output
    assert "runs of other parts have to end before values are chosen" in first.output
    result = fedssl(*command)
    assert result.exit_code == 0, result.output
    trials = sorted((tiny / "tuning").rglob("metrics.jsonl"))
    assert {path.parent.name for path in trials} == {"seed-4"}
    tuned = json.loads((tiny / "tuning.json").read_text())
    assert [choice["strategy"] for choice in tuned] == ["fedavg", "uniform"]
    for choice in tuned:
        scores = {s["setting"]["client.lr"]: s["mean"] for s in choice["validation_accuracy"]}
        assert scores["1e30"] is None
        best = max(scores, key=lambda lr: -1.0 if scores[lr] is None else scores[lr])
        assert choice["chosen"] == {"client.lr": best}
        for lr in ("0.05", "0.0"):
            trial = RunFolder(tiny / f"tuning/{choice['strategy']}/client.lr={lr}/seed-4")
            assert trial.read_config().evaluation.split == "validation"
            assert trial.read_metrics()[-1]["linear_accuracy"] == scores[lr]
            assert len(trial.read_predictions()["label"]) == 6  # a fifth of 30
        final = RunFolder(tiny / f"runs/{choice['strategy']}/seed-3")
        assert final.read_config().client.lr == float(best)
        assert final.read_config().evaluation.split == "test"
        assert len(final.read_predictions()["label"]) == 15


def test_a_strategy_of_which_every_setting_fails_has_no_runs(tiny: Path) -> None:
    command = ["compare", "tiny.yaml", "rounds=1", "--strategies", "fedavg", "--seeds", "1"]
    result = fedssl(*command, "--tune", "client.lr=1e30,1e31", "--out", tiny)
    assert result.exit_code == 1
    assert "every setting that --tune names failed" in (tiny / "report.html").read_text()
    assert not (tiny / "runs").exists()


TWO = ("compare", "tiny.yaml", "--strategies", "fedavg,uniform", "--seeds", "1", "--out")


@pytest.mark.slow
def test_the_same_part_is_made_by_one_process_and_other_parts_by_others(tiny: Path) -> None:
    with lock_folder(tiny, print, ".lock-1-of-2"):
        refused = fedssl(*TWO, tiny, "--only", "1/2")
        assert refused.exit_code == 2
        assert re.search(r"process \d+ on .* writes there", refused.stderr)
        assert [path.name for path in tiny.iterdir()] == [".lock-1-of-2"]
        other = fedssl(*TWO, tiny, "--only", "2/2")
        assert other.exit_code == 0, other.output
        assert RunFolder(tiny / "runs/uniform/seed-3").summary.exists()
    assert fedssl(*TWO, tiny, "--only", "1/2").exit_code == 0
    assert not list(tiny.rglob(".lock*"))


@pytest.mark.slow
def test_a_run_that_another_process_makes_is_left_alone_and_has_not_failed(tiny: Path) -> None:
    taken = tiny / "runs" / "fedavg" / "seed-3"
    # A part without runs, which declares the plan.
    assert fedssl(*TWO, tiny, "--only", "3/3").exit_code == 0
    with lock_folder(taken, print):
        result = fedssl(*TWO, tiny)
        assert result.exit_code == 0, result.output
        assert re.search(r"runs/fedavg/seed-3: skipped: .*writes there", result.stdout)
        assert not (tiny / "failed").exists()
        assert "1 of 2 runs are done" in (tiny / "report.html").read_text()
    assert fedssl(*TWO, tiny).exit_code == 0
    assert "runs are done" not in (tiny / "report.html").read_text()
    # As a worker of --jobs tells it.
    assert isinstance(
        pickle.loads(pickle.dumps(worker.RunningElsewhere("x"))), worker.RunningElsewhere
    )
