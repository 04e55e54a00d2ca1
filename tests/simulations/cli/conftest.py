"""A small experiment in the folder that commands are given in, and code that fails beside it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulations.settings.experiment import Experiment


@pytest.fixture
def config(
    small: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "small.yaml"


OWN = """
from strategies.fedavg import FedAvg

class Failing(FedAvg):
    def aggregate_train(self, server_round, replies):
        return {}["gone"]

class Refusing(FedAvg):
    def __init__(self):
        raise TypeError("not \\x1b[31m today")
"""


@pytest.fixture
def own(config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write modules of a person's own, which fail."""
    monkeypatch.syspath_prepend(str(config.parent))
    (config.parent / "own_module.py").write_text(OWN, encoding="utf-8")
    (config.parent / "own_syntax.py").write_text("def f(:\n", encoding="utf-8")
    yield config
    sys.modules.pop("own_module", None)
