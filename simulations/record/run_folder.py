"""The folder of a run, in plain files that other tools can open."""

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
from simulations.record.files import atomic_text, replace_bytes, replace_text
from simulations.record.lock import is_temporary, lock_folder
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

_REWRITE_FIX = "remove it, and --resume writes it again"


class RunFolder:
    """A run's files.

    ``config.yaml`` (resolved), ``metrics.jsonl`` (a row a round), ``divergence.csv`` (δ of every
    round, client and tensor), ``partition.csv`` (examples of each client and class),
    ``predictions.npz`` (the linear probe's prediction for each test example, untrained and at the
    end), ``model.safetensors``, ``summary.json``, ``checkpoint/``, ``plots/``, ``report.html``; of
    a profiled run also ``profile/``, of a probed one ``probes/``, of a replayed one
    ``replays/``, and of one on devices ``federation/``: its logs, name, status, and the key of
    each client. While a process writes to it, also ``.lock``.
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
        """Return whether no run was begun here.

        A run that found no clients leaves only its logs, and one that was killed at its start only
        a lock and a temporary file.
        """
        names = {path.name for path in self.path.iterdir()} if self.path.exists() else set()
        return {name for name in names if not is_temporary(name)} <= {self.federation.name}

    def lock(self, on_message: Callable[[str], None]) -> AbstractContextManager[None]:
        """Return a context in which no other process writes here; see `simulations.record.lock`."""
        return lock_folder(self.path, on_message)

    def remove_leftovers(self) -> None:
        """Remove temporary files of killed writers."""
        names = ("checkpoint", "plots", "probes", "profile")
        remove_leftovers([self.path, *(self.path / name for name in names)])
        self.checkpoint.tidy()

    def has_trained(self) -> bool:
        """Return whether ``metrics.jsonl`` has a round after that of the untrained encoder."""
        with closing(whole_lines(self.metrics)) as lines:
            return self.metrics.exists() and len(list(islice(lines, 2))) > 1

    def run_name(self) -> str:
        """Return the run's name by which devices store their state; it stays after a restart."""
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
        """Return the experiment of this run; raise a ConfigError where the file is invalid."""
        values = read_yaml(self.config)
        # The folder may come from a stranger, and validating its config imports what it names.
        check_own_code(values, self.path)
        return validate(Experiment, values, base=self.path, source=str(self.config))

    def read_metrics(self) -> list[Row]:
        """Return the complete rows of ``metrics.jsonl``; none where the file is missing.

        Raises
        ------
        ConfigError
            See `simulations.record.tables.read_metrics`.
        """
        return read_metrics(self.metrics) if self.metrics.exists() else []

    def read_summary(self) -> dict[str, Any] | None:
        """Return the content of ``summary.json``; None where the run is not finished.

        Raises
        ------
        ConfigError
            The file cannot be read.
        """
        if not self.summary.exists():
            return None
        try:
            summary = read_json(self.summary)
        except ConfigError as error:
            raise ConfigError(f"{error}; {_REWRITE_FIX}") from None
        if not isinstance(summary, dict):
            raise ConfigError(
                f"{self.summary}: cannot be read: it holds no summary; {_REWRITE_FIX}"
            )
        return summary

    def read_finished(self) -> list[Row]:
        """Return the rows of ``metrics.jsonl``; all rounds' where ``summary.json`` exists.

        Raises
        ------
        ConfigError
            Rows are lost, or a file cannot be read.
        """
        rows = self.read_metrics()
        last = (self.read_summary() or {}).get("rounds", -1)
        if not isinstance(last, int):
            raise ConfigError(f"{self.summary}: rounds = {last!r} is no number; {_REWRITE_FIX}")
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
        """Write the files that are known before the first round.

        Parameters
        ----------
        experiment : Experiment
            The resolved config.
        counts : Counts
            The examples of each client and class.
        classes : Sequence[str]
            The names of the C classes, in the order of the columns of ``counts``.
        names : Sequence[str]
            The names of the K clients; empty where they have only numbers.
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
        with atomic_text(self.partition) as file:
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
        """Refuse to resume where files lack something that was written up to this round.

        Raises
        ------
        ConfigError
            A file lacks something; the message names the file and the fix.
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
        """Remove rows of rounds after this one, which are run again; see `check_rows`."""
        rows = read_metrics(self.metrics, server_round)
        replace_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))
        with atomic_text(self.divergence) as file:
            for number, line in enumerate(whole_lines(self.divergence)):
                # Rounds are in order.
                if number and int(line.split(",", 1)[0]) > server_round:
                    break
                file.write(line)

    def add_row(self, row: Mapping[str, object]) -> None:
        """Append a round to ``metrics.jsonl``, and flush it and ``divergence.csv`` to the disk.

        The checkpoint that follows relies on both.
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
        """Write the test examples' labels and predictions, int64 [M], to ``predictions.npz``."""
        arrays = self.read_predictions() | {"label": labels, name: predicted}
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        replace_bytes(self.predictions, content.getvalue())

    def read_predictions(self) -> dict[str, np.ndarray]:
        """Return the arrays of ``predictions.npz``: ``label``, ``untrained`` and ``final``.

        The result is empty for a run without a probe.

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
    """Return a text as a CSV cell, with a comma before and after it."""
    line = io.StringIO()
    # Only characters of the line terminator are quoted, so both must be in it.
    csv.writer(line, lineterminator="\r\n").writerow(["", text, ""])
    return line.getvalue().removesuffix("\r\n")


def new_folder(name: str, root: Path = Path("runs")) -> Path:
    """Create and return the first free folder of ``runs/NAME``, ``runs/NAME-2``, …"""
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
    """Return the folder of the newest run of a name, or None."""
    pattern = re.compile(re.escape(name) + r"(-\d+)?")
    folders = root.iterdir() if root.is_dir() else ()
    runs = [path for path in folders if pattern.fullmatch(path.name) and path.is_dir()]
    return max(runs, key=lambda path: path.stat().st_ctime_ns, default=None)


def check_same_experiment(
    before: Experiment, now: Experiment, path: Path, on_devices: bool = False
) -> None:
    """Refuse to resume a run with another config; only the ``engine`` section may differ.

    ``partition.clients`` may differ, too, where ``on_devices`` is set: devices come and go.

    Raises
    ------
    ConfigError
        Fields differ; the message names them.
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
