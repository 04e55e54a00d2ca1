"""What is refused before Ray starts."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from simulations import ConfigError, Experiment, run
from tests.tools.ports import closed_port

Small = Callable[..., Experiment]

# Ray leaves files open and processes unwaited for, which Python tells only developers.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("engine.workers=1000",), r"engine\.workers = 1000: a worker takes client\.threads = 1"),
        (("client.threads=250",), r"client\.threads = 250, .* room for 0; lower"),
        (("client.threads=1000",), r"client\.threads = 1000: must be less than or equal to 256"),
        (("engine.gpus_per_worker=1",), r"engine\.gpus_per_worker = 1: engine\.device is cpu"),
        (("engine.gpus_per_worker=1.5",), r"engine\.gpus_per_worker = 1\.5: must be less"),
        (("engine.workers=0",), r"engine\.workers = 0: must be greater"),
        (("engine.address=head",), r"engine\.address = head: must be HOST:PORT"),
        (("engine.address=ray://head:1",), r"engine\.address = ray://head:1: must be HOST:PORT"),
        ((f"engine.address=127.0.0.1:{closed_port()}",), r"cannot join a Ray .*ray start --head"),
    ],
)
def test_what_is_asked_for_in_vain_is_refused_before_anything_is_written(
    small: Small, tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(small("engine.name=ray", *overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_ray_that_the_process_uses_already_is_left_alone(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(ConfigError, match=r"in use in this process already; call ray\.shutdown"):
        run(small("engine.name=ray"), tmp_path / "run")


def test_a_missing_ray_is_told_with_the_way_to_install_it(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "simulations.engines.ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"Ray is not installed; pip install"):
        run(small("engine.name=ray"), tmp_path / "run")
