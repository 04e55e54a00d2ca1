"""A federation on one machine whose clients cannot take part."""

from collections.abc import Callable
from pathlib import Path

import pytest

from simulations import Experiment, RunError, run
from simulations.deployment import rehearsal


@pytest.mark.slow
# Flower uses what pathspec will drop.
@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_a_client_that_ends_at_once_ends_the_rehearsal_with_what_it_said(
    small: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "JOIN", "json:not_there")
    with pytest.raises(RunError, match=r"client-\d ended before the first round: .*not_there.*log"):
        run(small("engine.name=flower"), tmp_path / "run")
