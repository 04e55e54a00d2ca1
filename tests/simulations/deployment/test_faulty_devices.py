"""Faulty devices over gRPC and TLS: what they spoil, and that the others do not notice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from simulations import Experiment, run
from simulations.deployment import rehearsal
from simulations.record.run_folder import RunFolder
from simulations.running import open_engine as opening
from tests.tools.spoiling_clients import make_spoiling_app

Small = Callable[..., Experiment]


@pytest.mark.slow
# Flower uses what pathspec will drop.
@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_faulty_devices_fail_alone_and_the_result_is_that_of_local(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("participation=1.0", "rounds=4")
    monkeypatch.setattr(opening, "make_client_app", make_spoiling_app)
    run(small(*asked), tmp_path / "local")
    monkeypatch.setattr(rehearsal, "JOIN", "tests.tools.spoiling_clients:app")
    run(small(*asked, "engine.name=flower"), tmp_path / "flower")
    local, flower = (RunFolder(tmp_path / name) for name in ("local", "flower"))
    assert local.model.read_bytes() == flower.model.read_bytes()
    for folder in (local, flower):
        rows = folder.read_metrics()
        assert [sorted(row["failed"]) for row in rows] == [[], [0], [1], [0, 2], []]
        reasons = {client: why for row in rows for client, why in row["failed_reasons"].items()}
        assert "SystemExit: 3" in reasons["2"]
        assert "num-examples is 1000000000000000000" in reasons["1"]
    # Over gRPC it is not even taken in.
    assert "it has more than" in flower.read_metrics()[3]["failed_reasons"]["0"]
    assert "an unexpected tensor huge" in local.read_metrics()[3]["failed_reasons"]["0"]
