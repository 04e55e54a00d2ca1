"""From what a person asks to compare to the list of runs."""

from pathlib import Path

import pytest
from click.testing import Result

from simulations.comparing import Request, make_plan
from simulations.comparing.grid import experiment_of
from simulations.record.run_folder import RunFolder
from tests.tools.command import fedssl
from tests.tools.comparisons import rows


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


def test_central_makes_the_local_steps_of_all_clients(tiny: Path) -> None:
    fields = ["client.local_steps=3", "partition.clients=4", "participation=0.5"]
    plan = make_plan(Request(Path("tiny.yaml"), "fedavg", 1, fields, references="central"))
    (central,) = plan.of("central", {}, 3)
    experiment = experiment_of(plan, central)
    assert experiment.client.local_steps == 6
    assert (experiment.partition.clients, experiment.participation) == (1, 1.0)


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
