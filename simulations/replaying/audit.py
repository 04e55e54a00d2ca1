"""Probe the encoders before, in and after a merge, to find where accuracy is lost.

Each client's encoder may be better than the merged one. If recalibrating the BatchNorm statistics
restores the accuracy, they did not fit the merged weights. If rescaling the weights to the clients'
norms restores it, the merge shrank them. Otherwise the weights themselves did not fit together.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedssl.base.config_file import ConfigError
from fedssl.evaluation import EvaluationExamples, evaluate, gather
from fedssl.evaluation.recalibrate import recalibrated
from fedssl.model_state import State, copy_into, floating_buffer_names
from simulations.comparing.statistics import over_test_examples
from simulations.errors import RunError
from simulations.record.files import replace_text
from simulations.replaying import pictures
from simulations.replaying.candidates import notes_on_lost_state
from simulations.replaying.counterfactual_memory import complete_model
from simulations.replaying.merging import encoder_weights, mean_client_norms, norms_restored
from simulations.replaying.reopened_run import OnProgress, ReopenedRun, open_run
from simulations.replaying.results import Audit, EncoderProbe
from simulations.reports import plots
from simulations.server.subjects import subject_of

CLIENTS = 10
"""The most client encoders to probe; of a larger cohort, clients evenly spaced by size."""


def audit(
    run: Path,
    server_round: int,
    strategies: str | None = None,
    *,
    device: str | None = None,
    on_progress: OnProgress = lambda done, total, text: None,
) -> Audit:
    """Probe one round's encoders, and write ``replays/round-N/audit.json`` into the run.

    The encoders are: the one that was sent to the clients; each client's; the merged one; the
    merged one with recalibrated BatchNorm statistics; with each tensor scaled to the clients' norm;
    and with both. Parameters are those of `replay`.

    Raises
    ------
    ConfigError
        An argument does not fit the run, or the examples have no labels; nothing was done.
    RunError
        A round failed.

    Examples
    --------
    With a finished run::

        result = audit(Path("runs/quickstart"), 5, "fedavg,ldawa")
        [(probe.encoder, probe.linear_accuracy) for probe in result.probes]
    """
    with open_run(run, server_round, strategies, device, on_progress) as reopened:
        progress = reopened.progress
        count = min(CLIENTS, reopened.updates_in(range(1)))
        progress.expect(1 + count + 4 * len(reopened.candidates))
        probes = _EncoderProbes(reopened)
        kept_round = reopened.kept_round()
        before = kept_round.checkpoint()
        probes.probe(None, "sent", _completed(reopened, before.model))
        chosen = _evenly_spaced([client for client, _, _ in kept_round.models()])
        for client, _, model in kept_round.models():
            if client not in chosen:
                continue
            probes.probe(None, f"client {client}", complete_model(before, client, model))
        norms, notes = None, reopened.notes(kept_round)
        for candidate in reopened.candidates:
            server = reopened.server_before_merge(candidate, kept_round)
            server.train(reopened.round, kept_round.cohort)
            server.recalibrate_batchnorm()
            merged = server.state()
            if norms is None:
                names = encoder_weights(merged, floating_buffer_names(server.objective))
                norms, _ = mean_client_norms(kept_round.models(), names)
            restored = norms_restored(merged, norms)
            metrics = probes.probe(candidate.label, "merged", merged)
            notes += notes_on_lost_state(candidate, kept_round.row, metrics["rankme"])
            probes.probe(candidate.label, "recalibrated", merged, recalibrate=True)
            probes.probe(candidate.label, "norms restored", restored)
            probes.probe(candidate.label, "both", restored, recalibrate=True)
    replies = sum(1 for _ in kept_round.models())
    results = probes.results()
    file = kept_round.path / "audit.json"
    content = {
        "run": run.resolve().name,
        "round": server_round,
        "clients": replies,
        "probes": [asdict(result) for result in results],
        "notes": notes,
    }
    replace_text(file, json.dumps(content, indent=1) + "\n")
    plots.save(pictures.draw_audit(server_round, results), picture := file.with_suffix(".png"))
    return Audit(server_round, results, replies, notes, file, picture)


def _completed(reopened: ReopenedRun, sent: State) -> State:
    """Return the model that was sent to the clients, with the statistics the run probed it with."""
    server = reopened.server(reopened.experiment, reopened.engine)
    server.restore(sent, server.strategy_state())
    server.recalibrate_batchnorm()
    return server.state()


def _evenly_spaced(clients: Sequence[int]) -> set[int]:
    """Choose the clients to probe from a cohort that is ordered by the clients' sizes."""
    indices = np.linspace(0, len(clients) - 1, min(CLIENTS, len(clients))).round()
    return {clients[int(index)] for index in indices}


class _EncoderProbes:
    """Probes encoders one by one, and compares each with the mean of the clients' encoders."""

    def __init__(self, reopened: ReopenedRun):
        experiment, splits = reopened.experiment, reopened.prepared.splits
        self._reopened = reopened
        # Each merged encoder is probed twice: with recalibrated statistics and without.
        recalibrating = experiment.evaluation.model_copy(update={"recalibrate_bn": True})
        self._evaluation = experiment.evaluation.model_copy(update={"recalibrate_bn": False})
        self._examples: EvaluationExamples = gather(splits, recalibrating)
        self._labels = self._examples.test.labels
        if len(self._examples.train) == 0 or not bool((self._labels >= 0).any()):
            raise ConfigError("an audit probes with labels, and the run's examples have none")
        objective = reopened.prepared.blueprint.build()
        self._encoder = objective.to(torch.device(experiment.engine.device)).encoder
        self._probed: list[tuple[str | None, str, Mapping[str, float], np.ndarray]] = []

    def probe(
        self, strategy: str | None, name: str, model: State, recalibrate: bool = False
    ) -> Mapping[str, float]:
        """Probe an encoder and return its metrics.

        Raises
        ------
        RunError
            The encoder's features are infinite or NaN.
        """
        prepared = self._reopened.prepared
        encoder: nn.Module = copy.deepcopy(self._encoder).eval()
        tensors = {
            name.removeprefix("encoder."): tensor
            for name, tensor in model.items()
            if name.startswith("encoder.")
        }
        copy_into(encoder.state_dict(), tensors)
        if recalibrate:
            encoder = recalibrated(
                encoder, self._examples.recalibration, prepared.blueprint.preparation
            )
        subject = subject_of(prepared.blueprint, encoder, prepared.splits, self._examples, None)
        label = name if strategy is None else f"{strategy}: {name}"
        try:
            measured = evaluate(replace(subject, config=self._evaluation))
        except ValueError as error:
            raise RunError(f"round {self._reopened.round}: {label}: {error}") from error
        assert measured.predictions is not None
        correct = (measured.predictions.cpu() == self._labels)[self._labels >= 0].double().numpy()
        self._probed.append((strategy, name, measured.figures, correct))
        self._reopened.progress.count(f"probed {label}")
        return measured.figures

    def results(self) -> list[EncoderProbe]:
        """Return the results of all encoders that were probed, in that order."""
        mean = np.mean([c for _, name, _, c in self._probed if name.startswith("client ")], axis=0)
        return [
            EncoderProbe(
                name,
                strategy,
                metrics["linear_accuracy"],
                metrics["knn_accuracy"],
                metrics["rankme"],
                100 * float((correct - mean).mean()),
                over_test_examples(correct - mean),
            )
            for strategy, name, metrics, correct in self._probed
        ]
