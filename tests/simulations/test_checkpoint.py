from pathlib import Path

import pytest
import torch

from fedssl.state import save_state
from simulations import checkpoint as module
from simulations.checkpoint import Checkpoint, CheckpointFolder


def make(server_round: int, *clients: int) -> Checkpoint:
    value = float(server_round)
    return Checkpoint(
        server_round,
        {"w": torch.full((2,), value)},
        {"momentum": torch.tensor(value)},
        {client: {"t": torch.full((1,), value)} for client in clients},
    )


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path / "checkpoint").load() is None


def test_the_newest_comes_back_and_the_old_goes(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(make(1, 0, 5), changed={0, 5})
    folder.save(make(2, 0, 5), changed={5})
    loaded = folder.load()
    assert loaded is not None
    assert loaded.round == 2
    assert loaded.model["w"].tolist() == [2, 2]
    assert loaded.strategy["momentum"].item() == 2
    # Client 0 took no part in round 2: what it left in round 1 stands.
    assert {c: s["t"].item() for c, s in loaded.clients.items()} == {0: 1, 5: 2}
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.json",
        "client-0-round-1.safetensors",
        "client-5-round-2.safetensors",
        "model-round-2.safetensors",
        "strategy-round-2.safetensors",
    ]


@pytest.mark.parametrize("survives", [0, 1, 2])
def test_a_save_cut_short_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(make(1, 0), changed={0})
    done = 0

    def dying(*arguments: object) -> None:
        nonlocal done
        if done == survives:
            raise KeyboardInterrupt
        done += 1
        save_state(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "save_state", dying)
    with pytest.raises(KeyboardInterrupt):
        folder.save(make(2, 0), changed={0})
    loaded = folder.load()
    assert loaded is not None
    assert loaded.round == 1
    assert loaded.clients[0]["t"].item() == 1


def test_a_damaged_file_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(make(1), changed=set())
    (tmp_path / "model-round-1.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="the checkpoint is damaged"):
        folder.load()
