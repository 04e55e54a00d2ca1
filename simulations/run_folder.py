"""The folder that a run leaves, every file of which opens in other tools."""

import csv
import io
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedssl.config_file import ConfigError, dump, parse_yaml, validate
from fedssl.partitions import Counts
from simulations.checkpoint import CheckpointFolder
from simulations.experiment import Experiment
from simulations.files import replace_text, replacing


class RunFolder:
    """A run's files.

    ``config.yaml`` (resolved), ``metrics.jsonl`` (a row a round), ``divergence.csv`` (δ of every
    round, client and tensor), ``partition.csv`` (images of each client and class),
    ``predictions.npz`` (what the linear probe took each test image for, untrained and at the
    end), ``model.safetensors``, ``summary.json``, ``checkpoint/``, ``plots/``, ``report.html``; of
    a profiled run also ``profile/``, of a probed one ``probes/``, of a replayed one
    ``replays/``, and of one on devices ``federation/``: its logs and name.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.divergence = path / "divergence.csv"
        self.partition = path / "partition.csv"
        self.predictions = path / "predictions.npz"
        self.model = path / "model.safetensors"
        self.summary = path / "summary.json"
        self.checkpoint = CheckpointFolder(path / "checkpoint")
        self.federation = path / "federation"

    def is_empty(self) -> bool:
        """Say whether no run was begun here; one that found no clients left only its logs."""
        there = {path.name for path in self.path.iterdir()} if self.path.exists() else set()
        return there <= {self.federation.name}

    def run_name(self) -> str:
        """Return the name of the run that devices keep their state by, the same after a stop."""
        file = self.federation / "run"
        if not file.exists() or self.is_empty():
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_text(file, secrets.token_hex(16) + "\n")
        return file.read_text(encoding="ascii").strip()

    def read_config(self) -> Experiment:
        """Return the experiment of this run."""
        values = parse_yaml(self.config.read_text(encoding="utf-8"), str(self.config))
        return validate(Experiment, values, base=self.path, source=str(self.config))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``; a last line cut short by a crash is left out."""
        if not self.metrics.exists():
            return []
        text = self.metrics.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def begin(
        self,
        experiment: Experiment,
        counts: Counts,
        classes: Sequence[str],
        names: Sequence[str] = (),
    ) -> None:
        """Write what is known before the first round.

        Parameters
        ----------
        experiment : Experiment
            The resolved config.
        counts : Counts
            The images of each client and class.
        classes : Sequence[str]
            The C names of the columns.
        names : Sequence[str]
            What the K clients are called; none where a number says it all.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        replace_text(self.config, dump(experiment))
        replace_text(self.metrics, "")
        replace_text(self.divergence, "round,client,tensor,divergence\n")
        with replacing(self.partition) as file:
            file.write(f"client,class,images{',name' if names else ''}\n")
            # Not by csv, which takes twice as long over millions of lines.
            middle = [_middle(name) for name in classes]
            last = [_middle(name)[:-1] for name in names]
            file.writelines(
                f"{client}{middle[label]}{images}{last[client] if last else ''}\n"
                for client, label, images in counts
            )

    def forget_after(self, server_round: int) -> None:
        """Drop what was written of rounds after this one: they are run again."""
        rows = [row for row in self.read_metrics() if row["round"] <= server_round]
        replace_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))
        with self.divergence.open(newline="", encoding="utf-8") as file:
            head, *lines = file.read().splitlines(keepends=True)
        kept = [
            line
            for line in lines
            if line.endswith("\n") and int(line.split(",", 1)[0]) <= server_round
        ]
        replace_text(self.divergence, "".join([head, *kept]))

    def add_row(self, row: Mapping[str, object]) -> None:
        """Append a round to ``metrics.jsonl``."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def add_divergence(
        self, server_round: int, client: int, tensors: Iterable[str], deltas: Iterable[float]
    ) -> None:
        """Append one client's δ, tensor by tensor, to ``divergence.csv``."""
        with self.divergence.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows(
                (server_round, client, tensor, f"{delta:.6g}")
                for tensor, delta in zip(tensors, deltas, strict=True)
            )

    def add_predictions(self, name: str, labels: np.ndarray, predicted: np.ndarray) -> None:
        """Write to ``predictions.npz`` what the probe took the test images for, int64 [M] each."""
        arrays = self.read_predictions() | {"label": labels, name: predicted}
        temporary = self.predictions.with_name(f".{self.predictions.name}.writing")
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        temporary.replace(self.predictions)

    def read_predictions(self) -> dict[str, np.ndarray]:
        """Return the arrays of ``predictions.npz``: ``label``, ``untrained`` and ``final``."""
        if not self.predictions.exists():
            return {}
        with np.load(self.predictions, allow_pickle=False) as file:
            return dict(file)

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """Write ``summary.json``."""
        replace_text(self.summary, json.dumps(summary, indent=2) + "\n")


def _middle(text: str) -> str:
    """Return a text as CSV has it between two commas, with these."""
    line = io.StringIO()
    # Only what may end a line is quoted, so it must be named.
    csv.writer(line, lineterminator="\r\n").writerow(["", text, ""])
    return line.getvalue().removesuffix("\r\n")


def new_folder(name: str, root: Path = Path("runs")) -> Path:
    """Make the first free folder of ``runs/NAME``, ``runs/NAME-2``, …"""
    root.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def newest_folder(name: str, root: Path = Path("runs")) -> Path | None:
    """Return the folder in which the newest run of a name was begun, or None."""
    pattern = re.compile(re.escape(name) + r"(-\d+)?")
    folders = root.iterdir() if root.is_dir() else ()
    runs = [path for path in folders if pattern.fullmatch(path.name) and path.is_dir()]
    return max(runs, key=lambda path: path.stat().st_ctime_ns, default=None)


def check_same(before: Experiment, now: Experiment, path: Path) -> None:
    """Refuse to go on with a run whose config is another; where it runs may differ.

    Raises
    ------
    ConfigError
        Names the fields that differ.
    """
    if (before.engine.name == "flower") != (now.engine.name == "flower"):
        raise ConfigError(
            f"{path}: cannot resume, engine.name was {before.engine.name}, is now "
            f"{now.engine.name}: on devices each client keeps its own state; give the same engine"
        )
    old, new = (_flat(e.model_dump(mode="json", exclude={"engine"})) for e in (before, now))
    changed = [
        f"  {key} was {old.get(key, 'not there')}, is now {new.get(key, 'not there')}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if changed:
        head = f"{path}: cannot resume, the config is not the one this run began with"
        fix = "  give the same config and overrides, or start a new run with another --out"
        raise ConfigError("\n".join([head, *changed, fix]))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
