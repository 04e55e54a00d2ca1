"""The folder that a run leaves, every file of which opens in other tools."""

import csv
import io
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fedssl.base.config_file import ConfigError, dump, read_yaml, validate
from fedssl.base.files import append_text, make_folder, remove_leftovers, sync, sync_folder
from fedssl.base.plain_files import read_json, read_text
from fedssl.partitions import Counts
from simulations.record.checkpoint import CheckpointFolder
from simulations.record.files import atomic_write, replace_bytes, replace_text
from simulations.record.lock import is_passing, locked
from simulations.record.tables import (
    MEND,
    Row,
    check_divergence,
    lost,
    read_metrics,
    read_predictions,
    whole_lines,
)
from simulations.settings.experiment import Experiment
from simulations.settings.own_code import check_own_code

_AGAIN = "remove it, and --resume writes it again"


class RunFolder:
    """A run's files.

    ``config.yaml`` (resolved), ``metrics.jsonl`` (a row a round), ``divergence.csv`` (δ of every
    round, client and tensor), ``partition.csv`` (examples of each client and class),
    ``predictions.npz`` (what the linear probe took each test example for, untrained and at the
    end), ``model.safetensors``, ``summary.json``, ``checkpoint/``, ``plots/``, ``report.html``; of
    a profiled run also ``profile/``, of a probed one ``probes/``, of a replayed one
    ``replays/``, and of one on devices ``federation/``: its logs, name, status, and whose the
    clients' numbers are. While it is written to, also ``.lock``.
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
        """Say whether no run was begun here.

        One that found no clients left only its logs, and one that was killed as it began a lock and
        a temporary file.
        """
        there = {path.name for path in self.path.iterdir()} if self.path.exists() else set()
        return {name for name in there if not is_passing(name)} <= {self.federation.name}

    def locked(self, said: Callable[[str], None]) -> AbstractContextManager[None]:
        """Return the context in which nobody else writes here; see `simulations.record.lock`."""
        return locked(self.path, said)

    def remove_leftovers(self) -> None:
        """Remove what writers left that were killed."""
        names = ("checkpoint", "plots", "probes", "profile")
        remove_leftovers([self.path, *(self.path / name for name in names)])
        self.checkpoint.tidy()

    def has_trained(self) -> bool:
        """Say whether a round after the untrained encoder's was noted."""
        with closing(whole_lines(self.metrics)) as lines:
            return self.metrics.exists() and len(list(islice(lines, 2))) > 1

    def run_name(self) -> str:
        """Return the name of the run that devices keep their state by, the same after a stop."""
        file = self.federation / "run"
        if not file.exists() or self.is_empty():
            make_folder(file.parent)
            replace_text(file, secrets.token_hex(16) + "\n")
        name = read_text(file).strip()
        if not re.fullmatch("[0-9a-f]{32}", name):
            raise ConfigError(
                f"{file}: holds no run's name (32 digits from 0 to f), by which devices keep their "
                "state; put the file back from a copy, or start a new run with another --out"
            )
        return name

    def read_config(self) -> Experiment:
        """Return the experiment of this run; a ConfigError says what is wrong with the file."""
        values = read_yaml(self.config)
        # Of a stranger's folder: reading it imports what it names.
        check_own_code(values, self.path)
        return validate(Experiment, values, base=self.path, source=str(self.config))

    def read_metrics(self) -> list[Row]:
        """Return the rows of ``metrics.jsonl``, as far as they are whole; none where it is missing.

        Raises
        ------
        ConfigError
            See `simulations.record.tables.read_metrics`.
        """
        return read_metrics(self.metrics) if self.metrics.exists() else []

    def read_summary(self) -> dict[str, Any] | None:
        """Return what ``summary.json`` says; None where the run is not finished.

        Raises
        ------
        ConfigError
            It cannot be read.
        """
        if not self.summary.exists():
            return None
        try:
            found = read_json(self.summary)
        except ConfigError as error:
            raise ConfigError(f"{error}; {_AGAIN}") from None
        if not isinstance(found, dict):
            raise ConfigError(f"{self.summary}: cannot be read: it holds no summary; {_AGAIN}")
        return found

    def read_finished(self) -> list[Row]:
        """Return the rows of ``metrics.jsonl``, which are all if ``summary.json`` is there.

        Raises
        ------
        ConfigError
            Some are lost, or a file cannot be read.
        """
        rows = self.read_metrics()
        last = (self.read_summary() or {}).get("rounds", -1)
        if not isinstance(last, int):
            raise ConfigError(f"{self.summary}: rounds = {last!r} is no number; {_AGAIN}")
        if len(rows) <= last:
            raise lost(self.metrics, rows, last)
        return rows

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
            The examples of each client and class.
        classes : Sequence[str]
            The C names of the columns.
        names : Sequence[str]
            What the K clients are called; none where a number says it all.
        """
        make_folder(self.path)
        replace_text(self.config, dump(experiment))
        replace_text(self.metrics, "")
        replace_text(self.divergence, "round,client,tensor,divergence\n")
        self.write_partition(counts, classes, names)

    def write_partition(
        self, counts: Counts, classes: Sequence[str], names: Sequence[str] = ()
    ) -> None:
        """Write ``partition.csv``; see `begin`."""
        with atomic_write(self.partition) as file:
            file.write(f"client,class,examples{',name' if names else ''}\n")
            # Not by csv, which takes twice as long over millions of lines.
            middle = [_middle(name) for name in classes]
            last = [_middle(name)[:-1] for name in names]
            file.writelines(
                f"{client}{middle[label]}{examples}{last[client] if last else ''}\n"
                for client, label, examples in counts
            )
        sync_folder(self.path)

    def check_rows(self, finished: int) -> None:
        """Refuse to go on where what was written up to this round is not all there.

        Raises
        ------
        ConfigError
            Names the file, what it lacks, and what to do.
        """
        rows = read_metrics(self.metrics, finished)
        evaluated = {
            row["round"]: set(row["cohort"]) - set(row["failed"])
            for row in rows[1:]
            if "rankme" in row
        }
        check_divergence(self.divergence, evaluated, finished)
        if "linear_accuracy" in rows[0]:
            due = {"untrained", "final"} if self.summary.exists() else {"untrained"}
            if missing := due - self.read_predictions().keys():
                raise ConfigError(
                    f"{self.predictions}: lacks {' and '.join(sorted(missing))}: what the probe "
                    f"took the test examples for is lost; {MEND}"
                )

    def forget_after(self, server_round: int) -> None:
        """Drop what was written of rounds after this one, which are run again; see `check_rows`."""
        kept = read_metrics(self.metrics, server_round)
        replace_text(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))
        with atomic_write(self.divergence) as file:
            for number, line in enumerate(whole_lines(self.divergence)):
                # Rounds are in order.
                if number and int(line.split(",", 1)[0]) > server_round:
                    break
                file.write(line)

    def add_row(self, row: Mapping[str, object]) -> None:
        """Append a round to ``metrics.jsonl``, after its δ, and bring both to the disk.

        The checkpoint that follows counts on them.
        """
        append_text(self.metrics, json.dumps(row) + "\n")
        for file in (self.metrics, self.divergence):
            if file.exists():
                sync(file)

    def add_divergence(
        self, server_round: int, client: int, tensors: Iterable[str], deltas: Iterable[float]
    ) -> None:
        """Append one client's δ, tensor by tensor, to ``divergence.csv``."""
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows(
            (server_round, client, tensor, f"{delta:.6g}")
            for tensor, delta in zip(tensors, deltas, strict=True)
        )
        append_text(self.divergence, lines.getvalue())

    def add_predictions(self, name: str, labels: np.ndarray, predicted: np.ndarray) -> None:
        """Write to ``predictions.npz`` what the probe took test examples for, int64 [M] each."""
        arrays = self.read_predictions() | {"label": labels, name: predicted}
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        replace_bytes(self.predictions, content.getvalue())

    def read_predictions(self) -> dict[str, np.ndarray]:
        """Return the arrays of ``predictions.npz``: ``label``, ``untrained`` and ``final``.

        Of a run that was never probed there are none.

        Raises
        ------
        ConfigError
            See `simulations.record.tables.read_predictions`.
        """
        return read_predictions(self.predictions) if self.predictions.exists() else {}

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
    make_folder(root)
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


def check_same(before: Experiment, now: Experiment, path: Path, on_devices: bool = False) -> None:
    """Refuse to go on with a run whose config is another; where it runs may differ.

    Nor does ``partition.clients`` matter ``on_devices``, which come and go.

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
    if on_devices:
        for values in (old, new):
            values.pop("partition.clients", None)
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
