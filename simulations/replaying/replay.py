"""Let every strategy merge the same replies of one round, and follow what comes of it.

Runs of two strategies differ in all that happened before, too. Here one round of one run is merged
by each of them: what differs is the merge alone.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedssl.model_state import State, clone, floating_buffer_names
from fedssl.models.model_file import save_model
from simulations.comparing.arms import file_name
from simulations.comparing.statistics import over_test_examples
from simulations.record.files import replace_text
from simulations.record.subfolders import make_inside
from simulations.replaying import pictures
from simulations.replaying.candidates import Candidate, forgot
from simulations.replaying.kept_round import Moment
from simulations.replaying.merging import mean_norms, step, weights
from simulations.replaying.reopened_run import Opened, Told, open_run
from simulations.replaying.results import AccuracyDifference, Merge, Replay
from simulations.reports import plots
from simulations.server.server import Server


def replay(
    run: Path,
    server_round: int,
    strategies: str | None = None,
    rounds: int = 0,
    *,
    device: str | None = None,
    told: Told = lambda done, total, text: None,
) -> Replay:
    """Merge one round's replies by each strategy, and write ``replays/round-N/`` into the run.

    The rounds before it are made again, unless they were for an earlier replay; no other file of
    the run changes.

    Parameters
    ----------
    run : Path
        The run's folder.
    server_round : int
        The round, from 1.
    strategies : str | None
        Such as ``fedavg,ldawa(warmup_rounds=0)``, the first of which the others are compared to;
        None for the run's own.
    rounds : int
        How many rounds to go on under each strategy.
    device : str | None
        Such as ``cpu``; None for the run's.
    told : Told
        Told how far the work is.

    Raises
    ------
    ConfigError
        Something that was asked for cannot be; nothing was done.
    RunError
        A round failed.
    """
    with open_run(run, server_round, strategies, device, told) as opened:
        last = opened.last_round(rounds)
        each = 1 + opened.updates_in(range(server_round + 1, last + 1))
        opened.steps.expect(each * len(opened.candidates))
        moment = opened.moment()
        merges = _merge_all(opened, moment, last)
        notes = opened.notes(moment)
        for candidate, merged in zip(opened.candidates, merges, strict=True):
            notes += forgot(candidate, moment.row, merged.row["rankme"])
    file = moment.path / "replay.json"
    content = {
        "run": run.resolve().name,
        "round": server_round,
        "merges": [{**asdict(m), "model": m.model.name} for m in merges],
        "notes": notes,
    }
    replace_text(file, json.dumps(content, indent=1) + "\n")
    plots.save(pictures.replayed(server_round, merges), picture := file.with_suffix(".png"))
    return Replay(server_round, merges, notes, file, picture)


def _merge_all(opened: Opened, moment: Moment, last: int) -> list[Merge]:
    before = moment.before().model
    found: list[Merge] = []
    first: _Made | None = None
    for candidate in opened.candidates:
        made = _merge(opened, candidate, moment, last)
        if first is None:
            first = made
            names = weights(before, floating_buffer_names(made.server.objective))
            norm = mean_norms(moment.models(), names)[1]
            names = [name for name in names if name in next(moment.models())[2]]
        found.append(
            Merge(
                candidate.label,
                made.rows[0],
                made.rows[1:],
                step(before, made.model, first.model, names, norm),
                None if made is first else _difference(made.right[0], first.right[0]),
                None
                if made is first or len(made.right) == 1
                else _difference(made.right[-1], first.right[-1]),
                made.file,
            )
        )
    return found


@dataclass(frozen=True)
class _Made:
    server: Server
    rows: list[dict[str, Any]]
    """From the round itself on."""
    right: list[np.ndarray | None]
    """After each of them, float [M]: which test examples were classified rightly."""
    model: State
    """Merge, before any further round."""
    file: Path


def _merge(opened: Opened, candidate: Candidate, moment: Moment, last: int) -> _Made:
    steps = opened.steps
    server = opened.ready(candidate, moment)
    row, _ = server.run_round(opened.round, moment.cohort)
    rows, right = [row], [_right(server)]
    model = clone(server.state())
    file = moment.path / "models" / f"{file_name(candidate.label)}.safetensors"
    make_inside(file.parent)
    save_model(file, server.objective, server.blueprint)
    steps.did(f"{candidate.label}: merged and probed")
    opened.go_on(candidate, moment, server, last)
    for number in range(opened.round + 1, last + 1):
        steps.doing = f"{candidate.label}, round {number}"
        row, _ = server.run_round(number, server.draw_cohort(number))
        rows.append(row)
        right.append(_right(server))
    steps.doing = ""
    return _Made(server, rows, right, model, file)


def _right(server: Server) -> np.ndarray | None:
    seen = server.predictions()
    if seen is None:
        return None
    labels, predicted = seen
    right: np.ndarray = (labels == predicted)[labels >= 0].astype(float)
    return right


def _difference(own: np.ndarray | None, first: np.ndarray | None) -> AccuracyDifference | None:
    if own is None or first is None:
        return None
    return AccuracyDifference(100 * float((own - first).mean()), *over_test_examples(own - first))
