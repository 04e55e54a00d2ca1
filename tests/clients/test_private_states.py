from pathlib import Path

import pytest
import torch

from clients.private_states import PrivateStates
from fedssl.model_state import State, load_state


def state(value: float) -> State:
    return {"target": torch.full((4,), float(value))}


def kept(states: PrivateStates, run: str, server_round: int) -> float | None:
    found = states.load(run, server_round)
    return float(found["target"][0]) if found else None


def test_a_round_that_is_run_again_starts_from_the_state_before_it(tmp_path: Path) -> None:
    states = PrivateStates(tmp_path)
    assert states.load("a1", 1) == {}
    for number in (2, 5):
        states.save("a1", number, state(number), before=number)
    assert kept(states, "a1", 9) == 5
    assert kept(states, "a1", 5) == 2
    assert kept(states, "a1", 2) is None
    # The server lost round 5, and runs it again.
    states.save("a1", 5, state(5.5), before=5)
    assert kept(states, "a1", 6) == 5.5
    assert kept(states, "a1", 5) == 2


def test_three_generations_are_kept_each_stamped(tmp_path: Path) -> None:
    states = PrivateStates(tmp_path)
    for number in (1, 2, 3, 7):
        states.save("a1", number, state(number), before=number)
    files = sorted(path.name for path in (tmp_path / "a1").iterdir())
    assert files == ["round-2.safetensors", "round-3.safetensors", "round-7.safetensors"]
    assert load_state(tmp_path / "a1" / files[2])[1] == {"run": "a1", "round": "7"}


def test_a_round_that_did_not_count_is_gone_back_behind(tmp_path: Path) -> None:
    states = PrivateStates(tmp_path)
    states.save("a1", 1, state(1), before=1)
    # Round 2 was refused, and 5 too: the client goes on from round 1 until round 6 counts.
    for number in (2, 5, 6):
        assert kept(states, "a1", 2) == 1
        states.save("a1", number, state(number), before=2)
    assert kept(states, "a1", 7) == 6
    assert sorted(path.name for path in (tmp_path / "a1").iterdir()) == [
        "round-1.safetensors",
        "round-6.safetensors",
    ]


def test_a_run_that_begins_anew_forgets_later_rounds(tmp_path: Path) -> None:
    states = PrivateStates(tmp_path)
    for number in (5, 7):
        states.save("a1", number, state(number), before=number)
    states.save("a1", 2, state(2), before=2)
    assert [path.name for path in (tmp_path / "a1").iterdir()] == ["round-2.safetensors"]


def test_runs_do_not_share_state(tmp_path: Path) -> None:
    states = PrivateStates(tmp_path)
    states.save("a1", 1, state(1), before=1)
    assert states.load("b2", 2) == {}


def test_the_servers_name_of_a_run_cannot_lead_elsewhere(tmp_path: Path) -> None:
    states = PrivateStates(tmp_path / "own")
    for name in ("../other", "", "a/b", "a" * 65):
        with pytest.raises(ValueError, match="a name that is no name"):
            states.save(name, 1, state(1), before=1)
    assert not list(tmp_path.iterdir())


def test_more_than_the_disk_may_hold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    states = PrivateStates(tmp_path, limit=47)
    with pytest.raises(ValueError, match="raise --disk"):
        states.save("a1", 1, state(1), before=1)
    assert not list(tmp_path.iterdir())
    PrivateStates(tmp_path, limit=48).save("a1", 1, state(1), before=1)
