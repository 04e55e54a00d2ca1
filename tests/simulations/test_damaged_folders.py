"""Run folders that were damaged in 2,000 ways: every reader succeeds, or says what is wrong."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from typer.testing import CliRunner

from fedssl.models.model_file import rebuild_encoder
from simulations import ConfigError, Experiment, load_experiment, run
from simulations.cli import app
from simulations.probing.probe import probe
from simulations.record.run_folder import RunFolder
from simulations.replaying import replay
from simulations.reports.run_report import read_records, report
from simulations.running.trained_model import load_trained_model
from simulations.server.rounds import find_checkpoint
from simulations.settings.experiment import resolve
from tests.tools.runs import StopsAfter

CONFIG = """
seed: 3
rounds: 3
data: {name: npz, train: train.npz, test: test.npz}
partition: {name: iid, clients: 2}
model: {encoder: convnet, projector: [4]}
objective: {name: simclr}
views: [{name: flip}]
client: {batch_size: 8, lr: 0.05}
strategy: {name: fedavgm}
engine: {name: local, device: cpu, workers: 1}
"""


@dataclass(frozen=True)
class Made:
    """Two runs of one config: ``done`` and, stopped after two of three rounds, ``stopped``."""

    folder: Path
    experiment: Experiment


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("whole")
    draws = np.random.default_rng(0)
    for name, count in (("train", 16), ("test", 6)):
        examples = draws.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
        np.savez(folder / f"{name}.npz", images=examples, labels=np.arange(count) % 2)
    (folder / "small.yaml").write_text(CONFIG)
    experiment = load_experiment(folder / "small.yaml")
    run(experiment, folder / "done")
    with pytest.raises(KeyboardInterrupt):
        run(experiment, folder / "stopped", display=StopsAfter(2))
    return Made(folder, resolve(experiment))


@pytest.fixture
def place() -> Iterator[Path]:
    # Not pytest's, which keeps what is made for each of thousands of examples.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


FILES: tuple[str, ...] = (
    "config.yaml",
    "metrics.jsonl",
    "divergence.csv",
    "partition.csv",
    "predictions.npz",
)
FILES += (
    "summary.json",
    "model.safetensors",
    "checkpoint/checkpoint.json",
    "checkpoint/model",
    "checkpoint/strategy",
)

Reader = Callable[[Path, Made], object]


def _resume(folder: Path, made: Made) -> None:
    files = RunFolder(folder)
    found = find_checkpoint(files, made.experiment, resume=True)
    if found:
        files.forget_after(found.round)
        assert [row["round"] for row in files.read_metrics()] == list(range(found.round + 1))


def _export(folder: Path, made: Made) -> None:
    model = load_trained_model(folder)
    rebuild_encoder(model.state, model.about)


READERS: dict[str, tuple[Reader, Collection[str]]] = {
    "report": (
        lambda folder, made: read_records(folder),
        ("config", "metrics", "divergence", "partition", "summary"),
    ),
    "resume": (
        _resume,
        ("config", "metrics", "divergence", "predictions", "summary", "checkpoint"),
    ),
    "probe": (
        lambda folder, made: probe(folder, []),
        ("config", "metrics", "partition", "model", "checkpoint"),
    ),
    "export": (_export, ("config", "model", "checkpoint")),
    "predictions": (lambda folder, made: RunFolder(folder).read_predictions(), ("predictions",)),
}
"""What a command reads before it works, and the names with which the files begin that it opens."""

_WRONG: list[Any] = [None, True, -1, 0, 3, 1.5, 10**6, 10**30, 1e308, float("nan"), float("inf")]
_WRONG += ["", "x", "a.b", "<b>", "[/red]", "\x1b[2J", "../../x", [], [1], [[]], {}, {"name": "x"}]
_WRONG += [[[[[1]]]], {"a": {"b": [None]}}]


def _swapped(values: Any, draw: st.DrawFn) -> Any:
    """Replace one value, wherever it lies, by one of another kind."""
    keys = list(values) if isinstance(values, dict) else list(range(len(values or ())))
    key = draw(st.sampled_from(keys)) if keys else None
    if key is None:
        return draw(st.sampled_from(_WRONG))
    inner = values[key]
    if isinstance(inner, (dict, list)) and inner and draw(st.booleans()):
        values[key] = _swapped(inner, draw)
    elif draw(st.integers(0, 4)) == 0:
        del values[key]
    else:
        values[key] = draw(st.sampled_from(_WRONG))
    return values


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes, str], bytes | None]:
    """Draw what is done to a file's bytes, by the kind of its name; None deletes it."""
    kind = draw(st.sampled_from(KINDS))
    return lambda content, name: KINDS_BY_NAME[kind](content, name, draw)


def _place(content: bytes, draw: st.DrawFn) -> int:
    return draw(st.integers(0, max(0, len(content) - 1)))


def _cut(content: bytes, name: str, draw: st.DrawFn) -> bytes:
    return content[: _place(content, draw)]


def _flip(content: bytes, name: str, draw: st.DrawFn) -> bytes:
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if changed:
            # Text is short, and of a model's file the head is what is not just numbers.
            changed[draw(st.integers(0, min(len(changed), 3000) - 1))] ^= 1 << draw(
                st.integers(0, 7)
            )
    return bytes(changed)


def _insert(content: bytes, name: str, draw: st.DrawFn) -> bytes:
    at = _place(content, draw)
    odd = [
        b"\0",
        b"\0" * 100,
        b"\xff\xfe",
        b"\n",
        b"\n\n",
        b"{",
        b'"',
        b",",
        b"\xe2\x80\xae",
        b"&a *a",
    ]
    new = draw(st.sampled_from(odd) | st.binary(max_size=20))
    return content[:at] + new + content[at:]


def _zero(content: bytes, name: str, draw: st.DrawFn) -> bytes:
    at = _place(content, draw)
    return content[:at] + b"\0" * (len(content) - at)


def _random(content: bytes, name: str, draw: st.DrawFn) -> bytes:
    return draw(st.binary(max_size=200))


def _lines(content: bytes, name: str, draw: st.DrawFn) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    match draw(st.sampled_from(["twice", "gone", "swapped", "deep"])):
        case "twice":
            lines.insert(other, lines[one])
        case "gone":
            del lines[one]
        case "swapped":
            lines[one], lines[other] = lines[other], lines[one]
        case "deep":
            lines[one] = b"[" * 10_000 + b"]" * 10_000 + b"\n"
    return b"".join(lines)


def _types(content: bytes, name: str, draw: st.DrawFn) -> bytes:
    if name.endswith(".jsonl"):
        rows = [json.loads(line) for line in content.splitlines()]
        at = draw(st.integers(0, len(rows) - 1))
        rows[at] = _swapped(rows[at], draw)
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if name.endswith(".json"):
        return json.dumps(_swapped(json.loads(content), draw)).encode()
    if name.endswith(".yaml"):
        return yaml.safe_dump(_swapped(yaml.safe_load(content), draw)).encode()
    if name.endswith(".csv"):
        lines = content.decode().splitlines()
        at = draw(st.integers(0, len(lines) - 1))
        cells = lines[at].split(",")
        cells[draw(st.integers(0, len(cells) - 1))] = str(draw(st.sampled_from(_WRONG)))
        return "\n".join([*lines[:at], ",".join(cells), *lines[at + 1 :], ""]).encode()
    return _flip(content, name, draw)


@st.composite
def swapped(draw: st.DrawFn, content: bytes, name: str) -> bytes:
    """Draw a file with a value of another kind."""
    return _types(content, name, draw)


KINDS_BY_NAME: dict[str, Callable[[bytes, str, st.DrawFn], bytes | None]] = {
    "delete": lambda content, name, draw: None,
    "empty": lambda content, name, draw: b"",
    "cut": _cut,
    "zero": _zero,
    "flip": _flip,
    "insert": _insert,
    "random": _random,
    "lines": _lines,
    "types": _types,
}
# Those that draw most are drawn most.
KINDS = ["delete", "empty", "cut", "zero", *["flip"] * 3, *["insert"] * 3, "random"]
KINDS += [*["lines"] * 2, *["types"] * 6]


def _file(folder: Path, name: str) -> Path | None:
    """Return a file of a run; of a checkpoint's by how its name begins."""
    there = sorted((folder / name).parent.glob(f"{Path(name).name}*"))
    return there[-1] if there else None


def copied(whole: Path, to: Path) -> Path:
    """Copy a run's folder by hard links: nothing there is written in place."""
    shutil.copytree(whole, to, copy_function=os.link)
    return to


def check(reader: Reader, folder: Path, made: Made) -> None:
    """Read, and hold what is raised to being a sentence for people that names a file or field."""
    raised: Exception | None = None
    try:
        reader(folder, made)
    except (ValueError, OSError) as error:
        raised = error
    if raised is None:
        return
    text = str(raised)
    assert isinstance(raised, ConfigError) or str(folder) in text, repr(raised)
    assert 0 < len(text) < 2000


def one(made: Made, data: st.DataObject, place: Path, *, every_reader: bool) -> None:
    """Draw a damaged folder, and read it by all readers of the damaged file, or by one of them."""
    base = data.draw(st.sampled_from(["done", "stopped"]))
    name = data.draw(st.sampled_from(FILES))
    folder = place / "run"
    shutil.rmtree(folder, ignore_errors=True)
    copied(made.folder / base, folder)
    file = _file(folder, name)
    if file is None:
        return
    if data.draw(st.integers(0, 19)) == 0:
        other = _file(folder, data.draw(st.sampled_from(FILES)))
        content: bytes | None = other.read_bytes() if other else b""
    else:
        content = data.draw(damages())(file.read_bytes(), file.name)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    readers = readers_of(name)
    for reader in readers if every_reader else [data.draw(st.sampled_from(readers))]:
        check(reader, folder, made)


def readers_of(name: str) -> list[Reader]:
    return [reader for reader, opened in READERS.values() if name.startswith(tuple(opened))]


# A failure is not made smaller, which would take minutes: it is printed as it is.
_SETTINGS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@pytest.mark.slow
@settings(max_examples=100, **_SETTINGS)
@given(data=st.data())
def test_a_damaged_folder_is_read_or_refused_in_words(
    made: Made, place: Path, data: st.DataObject
) -> None:
    one(made, data, place, every_reader=True)


@pytest.mark.slow
@settings(max_examples=2000, **_SETTINGS)
@given(data=st.data())
def test_2000_damaged_folders_are_read_or_refused_in_words(
    made: Made, place: Path, data: st.DataObject
) -> None:
    one(made, data, place, every_reader=False)


@pytest.mark.slow
@settings(max_examples=10, **_SETTINGS)
@given(data=st.data())
def test_a_report_of_a_damaged_folder_is_drawn_or_refused_in_words(
    made: Made, place: Path, data: st.DataObject
) -> None:
    folder = place / "run"
    shutil.rmtree(folder, ignore_errors=True)
    copied(made.folder / "done", folder)
    name = data.draw(
        st.sampled_from([n for n in FILES if readers_of(n)[0] is READERS["report"][0]])
    )
    content = data.draw(swapped((folder / name).read_bytes(), name))
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    check(lambda folder, made: report(folder), folder, made)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "pipe", "hole", "loop"])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_plain_file_is_refused_at_once(
    made: Made, place: Path, name: str, kind: str
) -> None:
    for base in ("done", "stopped"):
        folder = copied(made.folder / base, place / base)
        file = _file(folder, name)
        # The checksum of so long a file takes long.
        if file is None or (kind == "hole" and file.suffix == ".safetensors"):
            continue
        file.unlink()
        if kind == "folder":
            file.mkdir()
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "loop":
            file.symlink_to(file)
        else:
            with file.open("wb") as hole:
                hole.truncate(5 << 30)
        for reader in readers_of(name):
            check(reader, folder, made)


def _rows(
    folder: Path, edit: Callable[[list[str]], list[str]], name: str = "metrics.jsonl"
) -> None:
    lines = (folder / name).read_text().splitlines(keepends=True)
    (folder / name).unlink()
    (folder / name).write_text("".join(edit(lines)))


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("metrics.jsonl", lambda r: [r[0], *r[2:]], r"line 2: is of round 2, where round 1 is due"),
        ("metrics.jsonl", lambda r: [*r[:2], r[1], *r[2:]], r"line 3: is of round 1"),
        ("metrics.jsonl", lambda r: [r[0], r[2], r[1]], r"line 2: is of round 2"),
        ("metrics.jsonl", lambda r: r[:2], r"ends with round 1, but .* finished round 2"),
        ("metrics.jsonl", lambda r: [], r"has no row, but the run has finished round 2"),
        ("divergence.csv", lambda r: [x for x in r if not x.startswith("1,")], "round 1, which is"),
        ("divergence.csv", lambda r: [*r[:3], r[2], *r[3:]], "client . is in round 1 twice"),
        ("divergence.csv", lambda r: [r[0], *r[:0:-1]], "round 1 comes after round 2"),
        ("divergence.csv", lambda r: [*r[:2], *r[3:]], "lacks rows of client . in round 1"),
    ],
)
def test_rows_of_finished_rounds_that_are_lost_are_missed_aloud(
    made: Made, place: Path, name: str, edit: Callable[[list[str]], list[str]], message: str
) -> None:
    folder = copied(made.folder / "stopped", place / "run")
    _rows(folder, edit, name)
    before = (folder / name).read_bytes()
    with pytest.raises(ConfigError, match=rf"{name}.*{message}.*; put the file back from a copy"):
        run(made.experiment, folder, resume=True)
    assert (folder / name).read_bytes() == before


@pytest.mark.parametrize("base", ["stopped", "done"])
def test_lost_predictions_are_missed_aloud(made: Made, place: Path, base: str) -> None:
    folder = copied(made.folder / base, place / "run")
    (folder / "predictions.npz").unlink()
    with pytest.raises(ConfigError, match=r"predictions\.npz: lacks .*untrained"):
        run(made.experiment, folder, resume=True)


def test_what_was_half_written_and_who_has_which_examples_is_made_again(
    made: Made, place: Path
) -> None:
    folder = copied(made.folder / "stopped", place / "run")
    (folder / "partition.csv").unlink()
    for name, half in (("metrics.jsonl", '{"round": 3, "coh'), ("divergence.csv", "3,0,enc")):
        _rows(folder, lambda lines, half=half: [*lines, half], name)  # type: ignore[misc]
    run(made.experiment, folder, resume=True)
    for name in ("divergence.csv", "partition.csv", "model.safetensors"):
        assert (folder / name).read_bytes() == (made.folder / "done" / name).read_bytes()


def test_of_a_finished_run_all_rows_are_read_or_missed(made: Made, place: Path) -> None:
    folder = copied(made.folder / "done", place / "run")
    _rows(folder, lambda lines: lines[:-1])
    with pytest.raises(ConfigError, match=r"metrics\.jsonl: ends with round 2, but .* round 3"):
        report(folder)


def test_a_stopped_run_is_exported_from_its_checkpoint(made: Made, place: Path) -> None:
    folder = copied(made.folder / "stopped", place / "run")
    result = CliRunner().invoke(app, ["export", str(folder)])
    assert result.exit_code == 0, result.output
    file = folder / "encoder-safetensors.safetensors"
    assert f"{file} (after round 2 of 3: the run is not finished)" in result.output
    checkpoint = RunFolder(folder).checkpoint.load()
    assert checkpoint is not None
    written = load_file(file)
    own = {n: t for n, t in checkpoint.model.items() if n.startswith("encoder.")}
    assert {f"encoder.{name}" for name in written} == own.keys()
    assert all(torch.equal(written[name.removeprefix("encoder.")], t) for name, t in own.items())
    finished = CliRunner().invoke(app, ["export", str(made.folder / "done"), "--out", str(file)])
    assert finished.exit_code == 0, finished.output
    assert "not finished" not in finished.output
    shutil.rmtree(folder / "checkpoint")
    result = CliRunner().invoke(app, ["export", str(folder)])
    assert result.exit_code == 2
    assert "holds no checkpoint" in result.stderr


def test_nothing_is_written_outside_the_folder(made: Made, place: Path) -> None:
    folder = copied(made.folder / "done", place / "run")
    shutil.rmtree(folder / "plots")
    for name in ("elsewhere", "page"):
        (place / name).mkdir()
    (place / "page" / "kept.html").write_text("kept")
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(place / "page" / "kept.html")
    report(folder)
    assert (place / "page" / "kept.html").read_text() == "kept"
    assert not (folder / "report.html").is_symlink()
    shutil.rmtree(folder / "plots")
    for name in ("plots", "probes", "replays"):
        (folder / name).symlink_to(place / "elsewhere")
    for work in (
        lambda: report(folder),
        lambda: probe(folder, ["rankme"]),
        lambda: replay(folder, 1),
    ):
        with pytest.raises(ConfigError, match=r"is a link.* outside the run's folder; remove it"):
            work()
    assert not any((place / "elsewhere").iterdir())


def test_names_in_a_folder_are_shown_and_not_obeyed(made: Made, place: Path) -> None:
    folder = copied(made.folder / "done", place / "run")
    evil = "<script>alert(1)</script>[/red]\x1b[2J"
    _rows(folder, lambda lines: [lines[0], '0,"<img src=x onerror=alert(1)>",8\n'], "partition.csv")
    _rows(folder, lambda lines: [*lines, "# <script>alert(2)</script>\n"], "config.yaml")
    row = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    row["<script>alert(3)</script>"] = 0.5
    _rows(folder, lambda lines: [*lines[:-1], json.dumps(row) + "\n"])
    page = report(folder).read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(3)" in page.lower()
    _rows(folder, lambda lines: [json.dumps({**row, "seconds": evil}) + "\n"])
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 2
    assert "seconds = '<script>" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("at", ["run", "."])
def test_code_in_a_runs_folder_is_never_run(
    made: Made, place: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    folder = copied(made.folder / "stopped", place / "run")
    (folder / "evil_net.py").write_text("raise SystemExit('it was run')\n")
    name = "evil_net.Net" if at == "run" else "run.evil_net.Net"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["encoder"] = name
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(place / at)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for command in (["probe"], ["export"], ["replay", "--round", "1"], ["audit", "--round", "1"]):
        result = CliRunner().invoke(app, [command[0], str(folder), *command[1:]])
        assert result.exit_code == 2, result.output
        assert f"model.encoder = {name}: its code lies in the run's own folder" in result.stderr


def test_code_from_elsewhere_is_named_before_it_is_run(
    made: Made, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(made.folder / "done", place / "run")
    (place / "own_net_of_mine.py").write_text("raise ValueError('it was run')\n")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["encoder"] = "own_net_of_mine.Net"
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [*sys.path])
    result = CliRunner().invoke(app, ["probe", str(folder)])
    told, _, error = result.stderr.partition("error:")
    assert "model.encoder = own_net_of_mine.Net: code of your own, from" in told
    assert str(place / "own_net_of_mine.py") in told.replace("\n", "")
    assert "it was run" in error
    assert result.exit_code == 2
