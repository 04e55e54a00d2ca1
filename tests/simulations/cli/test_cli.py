import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulations.settings.experiment import Experiment, load_experiment
from tests.tools.command import fedssl

Small = Callable[..., Experiment]
CONFIGS = Path(__file__).parents[3] / "configs"


def in_a_process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "simulations.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])} | environment,
        capture_output=True,
        timeout=200,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "MPLBACKEND": "nonsense"},
    ],
    ids=" ".join,
)
def test_odd_environments_break_nothing(config: Path, environment: dict[str, str]) -> None:
    with np.load(config.parent / "train.npz") as arrays:
        names = np.array(["猫", "\x1b[31mdog", "b\u202eird"])
        np.savez(config.parent / "train.npz", **arrays, class_names=names)
    result = in_a_process("show", config, "--picture", "p.png", **environment)
    assert result.returncode == 0, result.stderr
    assert b"\x1b" not in result.stdout
    text = result.stdout.decode(environment.get("PYTHONIOENCODING", "ascii"))
    (config.parent / "again.yaml").write_text(text, encoding="utf-8")
    assert load_experiment(config.parent / "again.yaml").seed == 3
    assert b"Traceback" not in result.stderr
    assert b"Warning" not in result.stderr


@pytest.mark.parametrize("command", ["run", "show", "init", "list", "schema", "report", "export"])
def test_help_teaches(command: str) -> None:
    result = fedssl(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 8


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: p.name)
def test_every_config_loads(path: Path) -> None:
    load_experiment(path)


def test_report_refuses_what_is_no_run(tmp_path: Path) -> None:
    result = fedssl("report", tmp_path)
    assert result.exit_code == 2
    assert str(tmp_path) in result.stderr.replace("\n", "")
