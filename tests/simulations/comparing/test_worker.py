"""Where a run of a comparison is carried out."""

from pathlib import Path

import pytest

from tests.tools.command import fedssl
from tests.tools.comparisons import rows


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
