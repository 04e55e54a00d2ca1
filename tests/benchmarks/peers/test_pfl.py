import importlib.util
from concurrent.futures import ProcessPoolExecutor
from importlib.machinery import ModuleSpec

import pytest

from tests.benchmarks.peers import pfl


@pytest.mark.parametrize("absent", ["pfl", "absl"])
def test_what_is_missing_is_said_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    def find(name: str) -> ModuleSpec | None:
        return None if name == absent else ModuleSpec(name, None)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert pfl.missing() == f"No module named '{absent}'; {pfl.INSTALL}"


@pytest.mark.slow
@pytest.mark.skipif(pfl.missing() is not None, reason=pfl.missing() or "is installed")
def test_a_client_round_costs_time_and_memory(fresh: ProcessPoolExecutor) -> None:
    seconds, memory = fresh.submit(pfl.client_round, "resnet18", 2, 1).result()
    assert seconds > 0
    # The model, its copy, and the sum of the differences: 45 MB each.
    assert memory > 130
