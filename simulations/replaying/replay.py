"""Merge the same replies of one round by several strategies, and go on from each result.

Two runs with different strategies also differ in all their earlier rounds. Here each strategy
merges one round of one run, so that only the merge differs.
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
from simulations.replaying.candidates import Candidate, notes_on_lost_state
from simulations.replaying.kept_round import KeptRound
from simulations.replaying.merging import encoder_weights, mean_client_norms, model_update
from simulations.replaying.reopened_run import OnProgress, ReopenedRun, open_run
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
    on_progress: OnProgress = lambda done, total, text: None,
) -> Replay:
    """Merge one round's replies by each strategy, and write ``replays/round-N/`` into the run.

    The round and those before it are run again, unless an earlier replay recorded them. No other
    file of the run changes.

    Parameters
    ----------
    run : Path
        The run's folder.
    server_round : int
        The round, from 1.
    strategies : str | None
        The strategies, such as ``fedavg,ldawa(warmup_rounds=0)``; the others are compared to the
        first. None for the run's own.
    rounds : int
        The number of further rounds to run under each strategy.
    device : str | None
        The device, such as ``cpu``; None for the run's.
    on_progress : OnProgress
        Called after each step.

    Raises
    ------
    ConfigError
        An argument does not fit the run; nothing was done.
    RunError
        A round failed.

    Examples
    --------
    With a finished run::

        result = replay(Path("runs/quickstart"), 5, "fedavg,ldawa", rounds=2)
        [(merge.strategy, merge.row["linear_accuracy"]) for merge in result.merges]
    """
    with open_run(run, server_round, strategies, device, on_progress) as reopened:
        last = reopened.last_round(rounds)
        steps = 1 + reopened.updates_in(range(server_round + 1, last + 1))
        reopened.progress.expect(steps * len(reopened.candidates))
        kept_round = reopened.kept_round()
        merges = _merge_all(reopened, kept_round, last)
        notes = reopened.notes(kept_round)
        for candidate, merged in zip(reopened.candidates, merges, strict=True):
            notes += notes_on_lost_state(candidate, kept_round.row, merged.row["rankme"])
    file = kept_round.path / "replay.json"
    content = {
        "run": run.resolve().name,
        "round": server_round,
        "merges": [{**asdict(m), "model": m.model.name} for m in merges],
        "notes": notes,
    }
    replace_text(file, json.dumps(content, indent=1) + "\n")
    plots.save(pictures.draw_replay(server_round, merges), picture := file.with_suffix(".png"))
    return Replay(server_round, merges, notes, file, picture)


def _merge_all(reopened: ReopenedRun, kept_round: KeptRound, last: int) -> list[Merge]:
    before = kept_round.checkpoint().model
    merges: list[Merge] = []
    first: _MergeResult | None = None
    for candidate in reopened.candidates:
        result = _merge(reopened, candidate, kept_round, last)
        if first is None:
            first = result
            names = encoder_weights(before, floating_buffer_names(result.server.objective))
            norm = mean_client_norms(kept_round.models(), names)[1]
            names = [name for name in names if name in next(kept_round.models())[2]]
        merges.append(
            Merge(
                candidate.label,
                result.rows[0],
                result.rows[1:],
                model_update(before, result.model, first.model, names, norm),
                None if result is first else _difference(result.correct[0], first.correct[0]),
                None
                if result is first or len(result.correct) == 1
                else _difference(result.correct[-1], first.correct[-1]),
                result.file,
            )
        )
    return merges


@dataclass(frozen=True)
class _MergeResult:
    server: Server
    rows: list[dict[str, Any]]
    """The rows of metrics of this round and of those that follow."""
    correct: list[np.ndarray | None]
    """For each row, float [M]: 1 for each test example that was classified correctly."""
    model: State
    """The merged model, before any further round."""
    file: Path


def _merge(
    reopened: ReopenedRun, candidate: Candidate, kept_round: KeptRound, last: int
) -> _MergeResult:
    progress = reopened.progress
    server = reopened.server_before_merge(candidate, kept_round)
    row, _ = server.run_round(reopened.round, kept_round.cohort)
    rows, correct = [row], [_correct(server)]
    model = clone(server.state())
    file = kept_round.path / "models" / f"{file_name(candidate.label)}.safetensors"
    make_inside(file.parent)
    save_model(file, server.objective, server.blueprint)
    progress.count(f"{candidate.label}: merged and probed")
    reopened.set_client_states(candidate, kept_round, server, last)
    for number in range(reopened.round + 1, last + 1):
        progress.doing = f"{candidate.label}, round {number}"
        row, _ = server.run_round(number, server.draw_cohort(number))
        rows.append(row)
        correct.append(_correct(server))
    progress.doing = ""
    return _MergeResult(server, rows, correct, model, file)


def _correct(server: Server) -> np.ndarray | None:
    labels_and_predictions = server.predictions()
    if labels_and_predictions is None:
        return None
    labels, predicted = labels_and_predictions
    correct: np.ndarray = (labels == predicted)[labels >= 0].astype(float)
    return correct


def _difference(correct: np.ndarray | None, first: np.ndarray | None) -> AccuracyDifference | None:
    if correct is None or first is None:
        return None
    above = correct - first
    return AccuracyDifference(100 * float(above.mean()), *over_test_examples(above))
