"""Notes before a run: how the data were read, and cautions on what the metrics mean."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from fedssl.base.config_file import ConfigError
from fedssl.base.plain_files import read_json
from fedssl.base.printable import escape_unsafe
from simulations.record.files import replace_text
from simulations.record.tables import whole_lines
from simulations.settings.cautions import cautions
from simulations.setup.prepare import Prepared


class _Notes(BaseModel):
    cautions: Annotated[list[str], Field(max_length=100)]


def list_notes(prepared: Prepared) -> Iterator[str]:
    """Yield each note and caution as a line, to be shown before the first round."""
    yield from prepared.splits.notes
    for caution in cautions(prepared.experiment, prepared.splits):
        yield f"caution: {caution}"


def write_notes(folder: Path, prepared: Prepared) -> None:
    """Write ``notes.json`` into a run's folder, and ``skipped.csv`` where files were left out."""
    skipped = prepared.splits.skipped
    notes = {
        "read": list(prepared.splits.notes),
        "cautions": list(cautions(prepared.experiment, prepared.splits)),
    }
    if any(notes.values()):
        replace_text(folder / "notes.json", json.dumps(notes, indent=1) + "\n")
    if skipped:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["path", "reason"])
        writer.writerows((escape_unsafe(path), reason) for path, reason in skipped)
        replace_text(folder / "skipped.csv", text.getvalue())


def check_skipped(folder: Path, prepared: Prepared) -> None:
    """Refuse to resume a run that left out other files than would be left out now.

    Raises
    ------
    ConfigError
        The files differ; the message names one of them.
    """
    try:
        with closing(whole_lines(folder / "skipped.csv")) as rows:
            paths_before = {row["path"] for row in csv.DictReader(rows)}
    except (ConfigError, KeyError, csv.Error):
        paths_before = set()
    paths_now = {escape_unsafe(path) for path, _ in prepared.splits.skipped}
    for path in sorted(paths_before ^ paths_now):
        state_before, state_now = (
            ("left out", "can be read") if path in paths_before else ("read", "cannot be read")
        )
        raise ConfigError(
            f"{folder}: cannot resume, {path} was {state_before} when this run began, and "
            f"{state_now} now; put it back as it was, or start a new run with another --out"
        )


def read_cautions(folder: Path) -> list[str]:
    """Return the cautions of a run; none where it has no readable ``notes.json``."""
    try:
        return _Notes.model_validate(read_json(folder / "notes.json")).cautions
    except (ConfigError, ValidationError):
        return []
