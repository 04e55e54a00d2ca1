"""What the runs of a comparison gave."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from fedssl.base.config_file import ConfigError
from simulations.comparing import report
from simulations.comparing.folder import ComparisonFolder
from tests.tools.comparisons import findings, rows
from tests.tools.fake_comparison import write_comparison


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.jsonl", b"", "has no linear accuracy"),
        ("metrics.jsonl", b"\xff\n", "line 1: is not a text"),
        ("summary.json", b'{"rounds": 5}', "ends with round 4, but the run has finished round 5"),
        ("summary.json", b"[]", "holds no summary"),
        ("partition.csv", b"client,class,examples\n", "has no clients"),
        ("partition.csv", b"\0", "partition.csv"),
        ("divergence.csv", b"\0\n", "divergence.csv, line 1"),
        ("predictions.npz", b"\0", "is no .npz file"),
    ],
)
def test_a_damaged_run_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    results = write_comparison(tmp_path)
    folder = ComparisonFolder(tmp_path).run(results.plan.runs[0]).path
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"seed-0(.|\n)*{message}"):
        report(tmp_path)


def test_runs_of_other_rounds_or_other_test_examples_are_not_compared(tmp_path: Path) -> None:
    results = write_comparison(tmp_path)
    files = [ComparisonFolder(tmp_path).run(run) for run in results.plan.runs]
    for place, run in enumerate(files):
        labels = np.zeros(3 + (place == 2), np.int64)
        np.savez(run.predictions, label=labels, untrained=labels, final=labels)
    with pytest.raises(ConfigError, match="other test examples with a label than the runs"):
        report(tmp_path)
    for run in files:
        run.predictions.unlink()
    lines = files[2].metrics.read_text().splitlines(keepends=True)
    files[2].metrics.write_text("".join(lines[:3]))
    with pytest.raises(ConfigError, match="other evaluated rounds than the runs"):
        report(tmp_path)
