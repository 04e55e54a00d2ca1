import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fedssl.model_state import load_state, save_state
from simulations.record import checkpoint as module
from simulations.record.checkpoint import Checkpoint, CheckpointFolder, NewerVersionError

Damage = Callable[[Path], None]


def make(server_round: int, *clients: int) -> Checkpoint:
    value = float(server_round)
    return Checkpoint(
        server_round,
        {"w": torch.full((2,), value)},
        {"momentum": torch.tensor(value)},
        {client: {"t": torch.full((1,), value)} for client in clients},
    )


def save_three(path: Path) -> None:
    """Save rounds 1 to 3; client 0 takes part in the first, client 5 in all."""
    folder = CheckpointFolder(path)
    folder.save(make(1, 0, 5), changed={0, 5})
    folder.save(make(2, 0, 5), changed={5})
    folder.save(make(3, 0, 5), changed={5})


def rounds_of(found: Checkpoint | None) -> tuple[int, float, dict[int, float]]:
    assert found is not None
    assert found.strategy["momentum"].item() == found.round
    clients = {client: state["t"].item() for client, state in found.clients.items()}
    return found.round, found.model["w"][0].item(), clients


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path / "checkpoint").load() is None
    assert CheckpointFolder(tmp_path / "checkpoint").round() is None


def test_the_newest_comes_back_the_one_before_stays_and_older_ones_go(tmp_path: Path) -> None:
    save_three(tmp_path)
    said: list[str] = []
    # Client 0 took no part in rounds 2 and 3: what it left in round 1 stands.
    assert rounds_of(CheckpointFolder(tmp_path).load(said.append)) == (3, 3, {0: 1, 5: 3})
    assert CheckpointFolder(tmp_path).round() == 3
    assert said == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-before.json",
        "checkpoint.json",
        "client-0-round-1.safetensors",
        "client-5-round-2.safetensors",
        "client-5-round-3.safetensors",
        "model-round-2.safetensors",
        "model-round-3.safetensors",
        "strategy-round-2.safetensors",
        "strategy-round-3.safetensors",
    ]


def test_files_of_others_stay(tmp_path: Path) -> None:
    names = ["notes.txt", "model.safetensors", "model-round-1.safetensors.bak", ".tmpAbCdEf"]
    for name in names:
        (tmp_path / name).write_text("mine")
    save_three(tmp_path)
    CheckpointFolder(tmp_path).clear()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)


def test_what_a_killed_writer_left_goes_with_the_next_save(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(make(1), changed=set())
    (tmp_path / "client-7-round-2.safetensors").write_bytes(b"no index names it")
    folder.save(make(2), changed=set())
    assert not (tmp_path / "client-7-round-2.safetensors").exists()


@pytest.mark.parametrize("survives", [0, 1, 2])
def test_a_save_cut_short_leaves_the_one_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(make(1, 0), changed={0})
    before = sorted(p.name for p in tmp_path.iterdir())
    done = 0

    def dying(*arguments: Any) -> int:
        nonlocal done
        if done == survives:
            raise KeyboardInterrupt
        done += 1
        return save_state(*arguments)

    monkeypatch.setattr(module, "save_state", dying)
    with pytest.raises(KeyboardInterrupt):
        folder.save(make(2, 0), changed={0})
    assert rounds_of(folder.load()) == (1, 1, {0: 1})
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_what_an_index_names_is_on_the_disk_before_it_and_stays_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real, real_unlink = os.fsync, Path.unlink

    def fsync(file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}")
        events.append("folder" if path == str(tmp_path) else path.split(".")[1])
        real(file)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            events.append(f"remove {path.stem}")
        real_unlink(path, missing_ok)

    folder = CheckpointFolder(tmp_path)
    folder.save(make(1, 5), changed={5})
    folder.save(make(2, 5), changed=set())
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "unlink", unlink)
    folder.save(make(3, 5), changed={5})
    files = ["client-5-round-3", "model-round-3", "strategy-round-3", "checkpoint-before"]
    assert events[:7] == [*files, "folder", "checkpoint", "folder"]
    assert sorted(events[7:]) == ["remove model-round-1", "remove strategy-round-1"]


def flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def zero_the_tail(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-4] + bytes(4))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def flip_at(place: float) -> Damage:
    return lambda path: flip(path, place)


DAMAGES: dict[str, Damage] = {
    "first bit": flip_at(0),
    "a bit of the head": flip_at(0.3),
    "last bit": flip_at(1),
    "zeroed tail": zero_the_tail,
    "cut": cut,
    "empty": empty,
    "longer": lengthen,
    "deleted": Path.unlink,
}
OF_THE_NEWEST = ["checkpoint.json", "model-round-3", "strategy-round-3", "client-5-round-3"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("stem", OF_THE_NEWEST)
def test_damage_is_noticed_and_the_one_before_is_taken(
    tmp_path: Path, stem: str, damage: str
) -> None:
    save_three(tmp_path)
    path = next(path for path in tmp_path.iterdir() if path.name.startswith(stem))
    DAMAGES[damage](path)
    folder, said = CheckpointFolder(tmp_path), list[str]()
    assert rounds_of(folder.load(said.append)) == (2, 2, {0: 1, 5: 2})
    assert len(said) == 1
    assert path.name in said[0]
    assert "going on from the one before, of round 2" in said[0]
    # And the next is as if nothing had been.
    folder.save(make(3, 0, 5), changed={5})
    assert rounds_of(CheckpointFolder(tmp_path).load(said.append)) == (3, 3, {0: 1, 5: 3})
    assert len(said) == 1


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def swap_clients(content: dict[str, Any]) -> None:
    clients = content["clients"]
    clients["0"], clients["5"] = clients["5"], clients["0"]


EDITS: dict[str, Callable[[dict[str, Any]], None]] = {
    "round": lambda content: content.update(round=1),
    "model": lambda content: content["model"].update(file="model-round-2.safetensors"),
    "clients": swap_clients,
    "a client less": lambda content: content["clients"].pop("0"),
    "no checksum of its own": lambda content: content.pop("crc32"),
    "no checksum of a file": lambda content: content["model"].pop("crc32"),
    "no version": lambda content: content.pop("version"),
    "neither": lambda content: (content.pop("version"), content.pop("crc32")),  # type: ignore[dict-item]
    "a later version": lambda content: content.update(version=3),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_index_is_noticed(tmp_path: Path, what: str) -> None:
    save_three(tmp_path)
    edit(tmp_path / "checkpoint.json", EDITS[what])
    said: list[str] = []
    assert rounds_of(CheckpointFolder(tmp_path).load(said.append))[0] == 2
    assert "checkpoint.json" in said[0]


def test_layout_alone_is_no_edit(tmp_path: Path) -> None:
    save_three(tmp_path)
    edit(tmp_path / "checkpoint.json", lambda content: None)
    assert rounds_of(CheckpointFolder(tmp_path).load())[0] == 3


def test_swapped_files_are_noticed(tmp_path: Path) -> None:
    save_three(tmp_path)
    one, other = (tmp_path / f"client-{name}.safetensors" for name in ("0-round-1", "5-round-3"))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    # The one before has client 0's file, too.
    with pytest.raises(ValueError, match=r"client-0-round-1\.safetensors.*no good one before it"):
        CheckpointFolder(tmp_path).load()


def test_with_none_good_the_error_names_folder_and_files(tmp_path: Path) -> None:
    save_three(tmp_path)
    (tmp_path / "model-round-3.safetensors").write_bytes(b"half")
    (tmp_path / "model-round-2.safetensors").unlink()
    with pytest.raises(ValueError, match=r"damaged: model-round-3.*model-round-2.*is missing"):
        CheckpointFolder(tmp_path).load()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"round": 1}', "\0\0", '{"version": 2}']
)
def test_what_is_no_index_is_an_error_in_a_few_words(tmp_path: Path, text: str) -> None:
    CheckpointFolder(tmp_path).save(make(0), changed=set())
    (tmp_path / "checkpoint.json").write_text(text)
    with pytest.raises(ValueError, match=r"damaged: checkpoint\.json .{,60}; and") as error:
        CheckpointFolder(tmp_path).load()
    assert "\n" not in str(error.value)


def test_an_index_may_not_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    save_state(tmp_path / "model-round-1.safetensors", {"w": torch.zeros(1)}, {})
    old = {"round": 1, "model": "../model-round-1.safetensors", "strategy": None, "clients": {}}
    (tmp_path / "checkpoint" / "checkpoint.json").write_text(json.dumps(old))
    with pytest.raises(ValueError, match="names no files of a checkpoint"):
        CheckpointFolder(tmp_path / "checkpoint").load()


def test_a_lost_index_is_not_a_beginning(tmp_path: Path) -> None:
    save_three(tmp_path)
    for name in ("checkpoint.json", "checkpoint-before.json"):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=r"checkpoint\.json is missing"):
        CheckpointFolder(tmp_path).load()


def to_first_version(folder: Path) -> None:
    """Rewrite what there is as the first version was, without checksums and a generation."""
    content = json.loads((folder / "checkpoint.json").read_text())
    old = {
        "round": content["round"],
        "model": content["model"]["file"],
        "strategy": content["strategy"]["file"],
        "clients": {client: part["file"] for client, part in content["clients"].items()},
    }
    (folder / "checkpoint.json").write_text(json.dumps(old, indent=1))
    (folder / "checkpoint-before.json").unlink()


def test_the_first_version_is_read_and_gone_on_with(tmp_path: Path) -> None:
    save_three(tmp_path)
    to_first_version(tmp_path)
    folder = CheckpointFolder(tmp_path)
    assert rounds_of(folder.load()) == (3, 3, {0: 1, 5: 3})
    folder.save(make(4, 0, 5), changed={0})
    assert rounds_of(CheckpointFolder(tmp_path).load()) == (4, 4, {0: 4, 5: 3})
    flip(tmp_path / "model-round-4.safetensors", 1)
    assert rounds_of(CheckpointFolder(tmp_path).load()) == (3, 3, {0: 1, 5: 3})


@pytest.mark.parametrize("what", ["round", "clients"])
def test_an_edited_index_of_the_first_version_is_noticed(tmp_path: Path, what: str) -> None:
    save_three(tmp_path)
    to_first_version(tmp_path)
    edit(tmp_path / "checkpoint.json", EDITS[what])
    with pytest.raises(ValueError, match=r"checkpoint\.json (is of round 1|names client-5)"):
        CheckpointFolder(tmp_path).load()


def test_one_of_a_newer_fedssl_is_refused_not_passed_over(tmp_path: Path) -> None:
    save_three(tmp_path)
    content: dict[str, Any] = {"version": 4, "round": 9}
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["crc32"] = f"{zlib.crc32(plain.encode()):08x}"
    (tmp_path / "checkpoint.json").write_text(json.dumps(content))
    with pytest.raises(NewerVersionError, match="has version 4, this fedssl reads up to 3"):
        CheckpointFolder(tmp_path).load()


def test_a_reader_follows_a_writer_that_is_two_rounds_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_three(tmp_path)
    writer, reader, said = CheckpointFolder(tmp_path), CheckpointFolder(tmp_path), list[str]()
    read = load_state
    ahead = iter([4, 5])

    def slow(path: Path) -> Any:
        for number in ahead:
            writer.save(make(number, 0, 5), changed={5})
        return read(path)

    monkeypatch.setattr(module, "load_state", slow)
    assert rounds_of(reader.load(said.append)) == (5, 5, {0: 1, 5: 5})
    assert said == []
