"""A federation's status after its first round."""

from pathlib import Path

import pytest

from simulations.deployment.status import StatusBoard
from tests.tools.federation_events import happen


@pytest.fixture
def board(tmp_path: Path) -> StatusBoard:
    made = StatusBoard(tmp_path / "federation" / "status.json", 3)
    happen(made)
    return made
