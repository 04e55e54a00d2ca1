import hashlib
from pathlib import Path

import pytest

from simulations import load_experiment, run

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"


@pytest.mark.slow
@pytest.mark.filterwarnings(
    # Ray leaves files open, and Flower uses what pathspec will drop.
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:GitWildMatchPattern:DeprecationWarning",
)
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
