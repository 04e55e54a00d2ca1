from pathlib import Path

import numpy as np
import pytest

from simulations.records import read_divergence

HEAD = "round,client,tensor,divergence\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "divergence.csv"


def test_rounds_are_those_that_were_evaluated_and_tensors_in_the_models_order(file: Path) -> None:
    file.write_text(
        HEAD + "4,0,encoder.b.weight,0.9\n4,0,encoder.a.weight,0.8\n"
        "4,7,encoder.b.weight,0.7\n4,7,encoder.a.weight,1\n10,7,encoder.b.weight,0.5\n10,7,enc"
    )
    found = read_divergence(file)
    assert (found.tensors, found.rounds) == (["encoder.b.weight", "encoder.a.weight"], [4, 10])
    np.testing.assert_allclose(found.deltas, [[0.8, 0.5], [0.9, np.nan]])


def test_drift_is_of_the_encoders_trained_tensors(file: Path) -> None:
    file.write_text(
        HEAD + "2,1,encoder.0.weight,0.9\n2,1,encoder.0.bias,0.7\n2,1,encoder.0.running_mean,0\n"
        "2,1,encoder.0.running_var,0\n2,1,projector.0.weight,0\n4,1,encoder.0.weight,1\n"
        "4,1,encoder.0.bias,1\n4,0,encoder.0.weight,-0.5\n"
    )
    drift = read_divergence(file).drift
    assert list(drift) == [0, 1]
    assert drift == pytest.approx({0: 1.5, 1: 0.1})


def test_before_a_round_is_evaluated_there_is_nothing(file: Path) -> None:
    file.write_text(HEAD)
    found = read_divergence(file)
    assert (found.tensors, found.rounds, found.deltas.size, found.drift) == ([], [], 0, {})
