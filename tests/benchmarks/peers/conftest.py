import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from simulations.settings.experiment import Experiment, load_experiment
from tests.tools.small_experiment import WHOLE, write_small


@pytest.fixture
def small(tmp_path: Path, write_npz: Callable[..., Path]) -> Callable[..., Experiment]:
    """Load a small BYOL experiment with half of four clients a round."""
    path = write_small(tmp_path, WHOLE, write_npz)
    return lambda *overrides: load_experiment(path, overrides)


@pytest.fixture
def fresh() -> Iterator[ProcessPoolExecutor]:
    """Runs functions in a new process, as the bench does."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool
