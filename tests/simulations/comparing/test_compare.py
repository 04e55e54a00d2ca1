"""``fedssl compare`` through the public door: tiny runs."""

import csv
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from simulations.comparing import Request, compare, make_plan, worker
from simulations.comparing.grid import experiment_of
from simulations.comparing.plan import PlanFile
from simulations.record.lock import lock_folder
from simulations.record.run_folder import RunFolder
from simulations.running.run import run
from simulations.server import rounds as runner
from tests.tools.command import fedssl
from tests.tools.pages import Page
from tests.tools.tiny_comparison import TINY, write_tiny_examples

FAILS = "tests.tools.failing_strategies.Fails"
GRID = [
    *("--strategies", f"fedavg,ldawa(warmup_rounds=0),{FAILS}", "--seeds", "2"),
    *("--vary", "partition.alpha=0.5,100", "--references", "central,local-only"),
]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Result]]:
    """A grid of which one strategy fails, as the command left it."""
    folder = tmp_path_factory.mktemp("grid")
    write_tiny_examples(folder)
    (folder / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # A report for each of the runs would take most of the time.
        patch.setattr(runner, "report", lambda _: None)
        result = fedssl("compare", "tiny.yaml", *GRID)
        yield folder / "runs" / "tiny-compared", result


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_report: None) -> Path:
    write_tiny_examples(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out"


def rows(run: Path) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in row.items() if not k.endswith("seconds")}
        for row in RunFolder(run).read_metrics()
    ]


def findings(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    told = json.loads((out / "summary.json").read_text())
    return {(line["strategy"], *line["values"].values()): line for line in told["findings"]}


def test_every_run_is_an_ordinary_one_with_a_readable_place(
    compared: tuple[Path, Result],
) -> None:
    out, _ = compared
    done = {
        str(path.parent.relative_to(out / "runs")) for path in (out / "runs").rglob("summary.json")
    }
    seeds = ("seed-3", "seed-4")
    cells = ("partition.alpha=0.5", "partition.alpha=100")
    assert done == {
        *(f"fedavg/{cell}/{seed}" for cell in cells for seed in seeds),
        *(f"ldawa(warmup_rounds=0)/{cell}/{seed}" for cell in cells for seed in seeds),
        *(f"central/{seed}" for seed in seeds),
        *(
            f"local-only/{cell}/{seed}/client-{client}"
            for cell in cells
            for seed in seeds
            for client in (0, 1)
        ),
    }
    ldawa = RunFolder(out / "runs/ldawa(warmup_rounds=0)/partition.alpha=100/seed-4").read_config()
    assert (ldawa.strategy.name, ldawa.seed) == ("ldawa", 4)
    central = RunFolder(out / "runs/central/seed-3").read_config()
    assert (central.partition.name, central.partition.clients) == ("iid", 1)


def test_runs_of_a_seed_have_partition_initial_weights_and_views_in_common(
    compared: tuple[Path, Result],
) -> None:
    out, _ = compared
    for cell in ("partition.alpha=0.5", "partition.alpha=100"):
        fedavg, ldawa = (
            out / "runs" / name / cell / "seed-3" for name in ("fedavg", "ldawa(warmup_rounds=0)")
        )
        alone = out / "runs/local-only" / cell / "seed-3" / "client-1"
        assert rows(fedavg)[0] == rows(ldawa)[0] == rows(alone)[0]
        assert rows(fedavg)[0] != rows(fedavg.parent / "seed-4")[0]
        # In round 1 all clients start from the same weights, so that views alone decide the loss.
        assert rows(fedavg)[1]["train_loss"] == rows(ldawa)[1]["train_loss"]
        assert rows(fedavg)[2] != rows(ldawa)[2]
        parts = {(run / "partition.csv").read_text() for run in (fedavg, ldawa, alone)}
        assert len(parts) == 1


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


def test_the_figures_are_those_of_the_runs(compared: tuple[Path, Result]) -> None:
    out, _ = compared
    found = findings(out)
    runs = {
        name: [rows(out / f"runs/{name}/partition.alpha=0.5/seed-{seed}") for seed in (3, 4)]
        for name in ("fedavg", "ldawa(warmup_rounds=0)")
    }
    final = {
        name: [100 * run[-1]["linear_accuracy"] for run in both] for name, both in runs.items()
    }
    ldawa, fedavg = found["ldawa(warmup_rounds=0)", "0.5"], found["fedavg", "0.5"]
    assert fedavg["by_seed"] == pytest.approx(final["fedavg"])
    assert fedavg["difference"] is None
    differences = np.subtract(final["ldawa(warmup_rounds=0)"], final["fedavg"])
    assert ldawa["difference"]["by_seed"] == pytest.approx(differences.tolist())
    assert ldawa["difference"]["estimate"]["mean"] == pytest.approx(differences.mean())
    # The family: two strategies against the baseline in two cells, of which one is not whole.
    assert ldawa["difference"]["p_adjusted"] == min(1.0, 4 * ldawa["difference"]["p"])
    low, high = ldawa["difference"]["examples"]
    assert low <= differences.mean() <= high
    sent = sum(row["bytes_up"] for row in runs["fedavg"][0])
    assert fedavg["cost"]["bytes_up"] == sent
    assert fedavg["cost"]["bytes_up_per_client"] == sent / 2
    untrained = found["untrained", "0.5"]
    assert untrained["by_seed"] == pytest.approx(
        [100 * run[0]["linear_accuracy"] for run in runs["fedavg"]]
    )
    assert untrained["verdict"] in ("exploratory", "the same accuracy in every seed")


def test_references_are_the_pooled_data_and_the_mean_over_clients(
    compared: tuple[Path, Result],
) -> None:
    out, _ = compared
    found = findings(out)
    assert found["central", "0.5"]["by_seed"] == found["central", "100"]["by_seed"]
    place = out / "runs/local-only/partition.alpha=100/seed-3"
    alone = [rows(place / f"client-{client}") for client in (0, 1)]
    assert [row["cohort"] for row in alone[1]] == [[], [1], [1]]
    mean = np.mean([100 * run[-1]["linear_accuracy"] for run in alone])
    assert found["local-only", "100"]["by_seed"][0] == pytest.approx(mean)
    assert found["local-only", "100"]["cost"]["bytes_up"] == 0


def test_the_csv_has_a_row_a_run_and_round(compared: tuple[Path, Result]) -> None:
    out, _ = compared
    with (out / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 2 * 2 * (3 * 4 + 1)  # cells, seeds, (rounds of 4, and the untrained one)
    row = next(r for r in table if r["strategy"] == "central" and r["round"] == "2")
    assert row["partition.alpha"] == "0.5"
    real = rows(out / "runs/central/seed-3")[2]
    assert float(row["linear_accuracy"]) == real["linear_accuracy"]


def test_the_csv_has_the_measures_that_the_config_asks_for(tiny: Path) -> None:
    command = ["compare", "tiny.yaml", "rounds=1", "evaluation.measures=[alignment]"]
    result = fedssl(*command, "--strategies", "fedavg", "--seeds", "1", "--out", tiny)
    assert result.exit_code == 0, result.output
    with (tiny / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    real = rows(tiny / "runs/fedavg/seed-3")
    figures = [name for name in real[1] if name in ("alignment", "uniformity")]
    assert len(figures) == 2
    for name in figures:
        fedavg = [row[name] for row in table if row["strategy"] == "fedavg"]
        assert [float(value) for value in fedavg] == [row[name] for row in real]


def test_tables_for_papers(compared: tuple[Path, Result]) -> None:
    out, _ = compared
    line = findings(out)["fedavg", "0.5"]
    figure = f"{line['accuracy']['mean']:.1f}"
    markdown = (out / "table.md").read_text()
    assert "### partition.alpha = 0.5\n\n| strategy | accuracy (%) |" in markdown
    assert f"| fedavg | {figure}" in markdown
    assert {text.count("|") for text in markdown.splitlines() if "|" in text} == {8}
    latex = (out / "table.tex").read_text()
    assert rf"fedavg & {figure}" in latex
    assert r"ldawa(warmup\_rounds=0) & " in latex
    assert "%" not in latex.replace(r"\%", "")
    rows = [text for text in latex.splitlines() if "&" in text]
    assert {text.count("&") for text in rows} == {6}
    assert len(rows) == 1 + 2 * 6


def test_the_page_needs_nothing_else_and_says_what_was_found(
    compared: tuple[Path, Result],
) -> None:
    out, result = compared
    page = (out / "report.html").read_text()
    assert not re.search(r"https?://|<script .*src|<link|url\(", page)
    parsed = Page(out / "report.html")  # which sees to it that what is opened is closed
    assert list(parsed.examples) == [
        "Difference to the baseline",
        "Final accuracy",
        "Ranking from cell to cell",
        "Accuracy by round",
        "Accuracy against bytes",
        "δ by layer and round",
        "Who has which examples, and how far that turns the weights",
    ]
    assert parsed.parts["th"][:2] == ["strategy", "accuracy (%)"]
    names = {"differences", "final", "ranks", "by-round", "by-bytes", "by-layer", "by-client"}
    assert {path.name for path in (out / "plots").iterdir()} == {f"{name}.png" for name in names}
    for name in names:
        assert (out / "plots" / f"{name}.png").read_bytes()[1:4] == b"PNG"
    assert "18 of 22 runs are done." in page
    assert "With 2 seeds the smallest p that sign flips can reach is 0.5" in page
    assert "ldawa(warmup_rounds=0) against fedavg at partition.alpha = 0.5" in page
    last = result.output.rstrip().splitlines()[-1]
    assert last == "report: runs/tiny-compared/report.html"


def test_a_comparison_without_any_run_has_a_report(tiny: Path) -> None:
    request = Request(Path("tiny.yaml"), "fedavg,ldawa", seeds=2, references="local-only")
    PlanFile(tiny).declare(make_plan(request))
    result = fedssl("report", tiny)
    assert result.exit_code == 0, result.output
    assert "0 of 8 runs are done." in (tiny / "report.html").read_text()
    assert "incomplete, so not tested: it lacks 2" in result.output


def test_central_makes_the_local_steps_of_all_clients(tiny: Path) -> None:
    fields = ["client.local_steps=3", "partition.clients=4", "participation=0.5"]
    plan = make_plan(Request(Path("tiny.yaml"), "fedavg", 1, fields, references="central"))
    (central,) = plan.of("central", {}, 3)
    experiment = experiment_of(plan, central)
    assert experiment.client.local_steps == 6
    assert (experiment.partition.clients, experiment.participation) == (1, 1.0)


def test_parts_of_the_runs_are_all_runs_each_once(tiny: Path) -> None:
    plan = make_plan(Request(Path("tiny.yaml"), "fedavg,uniform", 1, ["rounds=1"]))
    compare(plan, tiny, shard=(2, 2))
    assert [run.folder for run in plan.runs if (tiny / run.folder).exists()] == [
        "runs/uniform/seed-3"
    ]
    compare(plan, tiny, shard=(1, 2))
    assert all((tiny / run.folder / "summary.json").exists() for run in plan.runs)


def test_report_writes_it_again_and_prints_the_table(compared: tuple[Path, Result]) -> None:
    out, _ = compared
    before = {
        name: (out / name).read_bytes() for name in ("summary.json", "results.csv", "report.html")
    }
    for name in before:
        (out / name).unlink()
    result = fedssl("report", out)
    assert result.exit_code == 0, result.output
    assert "ldawa(warmup_rounds=0)" in result.output
    assert {name: (out / name).read_bytes() for name in before} == before


@pytest.mark.slow
def test_what_is_done_is_not_run_again_and_what_failed_is(
    compared: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = compared
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


def test_another_plan_or_another_config_is_refused(compared: tuple[Path, Result]) -> None:
    out, _ = compared
    plan = (out / "plan.yaml").read_bytes()
    more = fedssl("compare", "tiny.yaml", *GRID, "--seeds", "3")
    assert more.exit_code == 2
    assert "seeds was [3, 4], is now [3, 4, 5]" in more.stderr
    config = Path("tiny.yaml")
    config.write_text(TINY.replace("lr: 0.05", "lr: 0.06"))
    edited = fedssl("compare", "tiny.yaml", *GRID)
    config.write_text(TINY)
    assert edited.exit_code == 2
    assert "client.lr was 0.05, is now 0.06" in edited.stderr
    assert (out / "plan.yaml").read_bytes() == plan
    full = Path("full")
    full.mkdir()
    (full / "letter.txt").touch()
    assert "holds no comparison" in fedssl("compare", "tiny.yaml", *GRID, "--out", full).stderr


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


@pytest.mark.slow
def test_runs_in_processes_have_the_same_bits_and_one_that_dies_is_replaced(
    tiny: Path,
) -> None:
    dies = "tests.tools.failing_strategies.Dies"
    command = ["compare", "tiny.yaml", "engine.workers=null", "--seeds", "2"]
    alone, together = tiny / "alone", tiny / "together"
    assert fedssl(*command, "--strategies", "fedavg", "--out", alone).exit_code == 0
    result = fedssl(*command, "--strategies", f"fedavg,{dies}", "--jobs", "2", "--out", together)
    assert result.exit_code == 1
    assert f"runs/{dies}/seed-3: failed: its process ended with exit code 9" in result.output
    for seed in (3, 4):
        one, other = (out / f"runs/fedavg/seed-{seed}" for out in (alone, together))
        assert rows(one) == rows(other)
        model = "model.safetensors"
        assert (one / model).read_bytes() == (other / model).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategies", "fedavg,ldwa"], "runs/ldwa/seed-3:"),
        (["--strategies", "fedavg,fedavg"], "fedavg is given twice"),
        (["--strategies", "fedavg,central"], "say it by --references central"),
        (["--strategies", "fedavg,untrained"], "it is always shown"),
        (["--strategies", "fedavg(warmup_rounds=1)"], "warmup_rounds: unknown field"),
        (["--strategies", "fed avg"], "'fed avg' is no strategy"),
        (["--strategies", "fedavg", "--baseline", "ldawa"], "--baseline ldawa: there is no such"),
        (["--strategies", "fedavg,ldawa", "--family", "fedavg"], "--family fedavg"),
        (["--strategies", "fedavg", "--references", "centra"], "did you mean central?"),
        (["--strategies", "fedavg", "--vary", "seed=1,2"], "--vary seed: the seeds are"),
        (["--strategies", "fedavg", "--vary", "rounds"], "is written field=value,value"),
        (["--strategies", "fedavg", "--vary", "rounds=1,1"], "a value is given twice"),
        (["--strategies", "fedavg", "--vary", "engine.workers=1,2"], "does not change it"),
        (["--strategies", "fedavg", "--vary", "client.lr=1,x"], "client.lr = x"),
        (["strategy.name=ldawa", "--strategies", "fedavg"], "name them by --strategies"),
        (
            ["--strategies", "fedavg", "--vary", "rounds=1,2", "--tune", "rounds=1,2"],
            "is varied already",
        ),
        (
            ["objective.name=supervised", "--strategies", "fedavg", "--tune", "client.lr=1,2"],
            "trains on the labels",
        ),
        (
            ["--strategies=fedavg", "--tune=client.local_steps=1,2", "--references=central"],
            "cannot be tuned beside it",
        ),
        (["--strategies", "fedavg", "--seeds", "0"], "at least 1 is needed"),
        (["--strategies", "fedavg", "--jobs", "0"], "--jobs 0: must be at least 1"),
        (["--strategies", "fedavg", "--only", "3/2"], "--only 3/2: is written I/N"),
        (["data.train=gone.npz", "--strategies", "fedavg"], "gone.npz"),
    ],
)
def test_what_cannot_be_is_refused_before_any_run(
    tiny: Path, arguments: list[str], message: str
) -> None:
    result = fedssl("compare", "tiny.yaml", *arguments, "--out", tiny)
    assert result.exit_code == 2, result.output
    assert message in result.stderr.replace("\n", "")
    assert not tiny.exists()


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
