import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from simulations import Experiment, load_experiment, run

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"


pytestmark = [
    pytest.mark.slow,
    # Ray leaves files open, and Flower uses what pathspec will drop.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
        "ignore:GitWildMatchPattern:DeprecationWarning",
    ),
]


def test_every_engine_gives_the_same_bits(tmp_path: Path) -> None:
    sums = {}
    for engine, more in (
        ("local", ["engine.workers=1"]),
        ("ray", ["engine.workers=2"]),
        ("flower", []),
    ):
        done = run(load_experiment(SMOKE, [f"engine.name={engine}", *more]), tmp_path / engine)
        model = (done.folder / "model.safetensors").read_bytes()
        sums[engine] = hashlib.sha256(model).hexdigest()
    assert len(set(sums.values())) == 1, sums
    logs = {path.name for path in (tmp_path / "flower" / "federation").glob("*.log")}
    assert logs == {"superlink.log", *(f"client-{n}.log" for n in range(4))}


@pytest.mark.parametrize("strategy", ["scaffold", "fedx"])
def test_what_client_rules_send_and_remember_crosses_to_processes_and_devices(
    small: Callable[..., Experiment], tmp_path: Path, strategy: str
) -> None:
    # Half of the clients a round: so that some come back with what they remember.
    asked = (f"strategy={strategy}", "objective=simclr", "rounds=3", "participation=0.5")
    models = set()
    for engine in ("local", "ray", "flower"):
        done = run(small(*asked, f"engine.name={engine}"), tmp_path / engine)
        models.add((done.folder / "model.safetensors").read_bytes())
    assert len(models) == 1
