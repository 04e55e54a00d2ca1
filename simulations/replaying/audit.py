"""Probe what goes into a merge and what comes out: where is accuracy lost?

Clients' encoders may each be better than what a merge makes of them. If BatchNorm's statistics,
measured anew, bring the loss back, they did not fit the merged weights; if longer weights do, the
merge shrank them; else the weights themselves did not go together.
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
from simulations.replaying.candidates import forgot
from simulations.replaying.counterfactual_memory import whole
from simulations.replaying.merging import mean_norms, norms_restored, weights
from simulations.replaying.reopened_run import Opened, Told, open_run
from simulations.replaying.results import Audit, EncoderProbe
from simulations.reports import plots
from simulations.server.subjects import subject_of

CLIENTS = 10
"""At most so many clients' encoders are probed; of more, those that are evenly spaced by size."""


def audit(
    run: Path,
    server_round: int,
    strategies: str | None = None,
    *,
    device: str | None = None,
    told: Told = lambda done, total, text: None,
) -> Audit:
    """Probe one round's encoders, and write ``replays/round-N/audit.json`` into the run.

    They are: the model that was sent; each client's; the merged one; it with BatchNorm's statistics
    measured anew; it with each tensor as long as the clients' were; and with both. Parameters and
    errors are those of `replay`.

    Raises
    ------
    ConfigError
        Something that was asked for cannot be, or there are no labels to probe with; nothing was
        done.
    RunError
        A round failed.
    """
    with open_run(run, server_round, strategies, device, told) as opened:
        steps = opened.steps
        count = min(CLIENTS, opened.updates_in(range(1)))
        steps.expect(1 + count + 4 * len(opened.candidates))
        probing = _Probing(opened)
        moment = opened.moment()
        before = moment.before()
        probing.look(None, "sent", _completed(opened, before.model))
        chosen = _some([client for client, _, _ in moment.models()])
        for client, _, model in moment.models():
            if client not in chosen:
                continue
            probing.look(None, f"client {client}", whole(before, client, model))
        norms, notes = None, opened.notes(moment)
        for candidate in opened.candidates:
            server = opened.ready(candidate, moment)
            server.train(opened.round, moment.cohort)
            server.recalibrate_batchnorm()
            merged = server.state()
            if norms is None:
                names = weights(merged, floating_buffer_names(server.objective))
                norms, _ = mean_norms(moment.models(), names)
            restored = norms_restored(merged, norms)
            found = probing.look(candidate.label, "merged", merged)
            notes += forgot(candidate, moment.row, found["rankme"])
            probing.look(candidate.label, "recalibrated", merged, recalibrate=True)
            probing.look(candidate.label, "norms restored", restored)
            probing.look(candidate.label, "both", restored, recalibrate=True)
    replies = sum(1 for _ in moment.models())
    probes = probing.result()
    file = moment.path / "audit.json"
    content = {
        "run": run.resolve().name,
        "round": server_round,
        "clients": replies,
        "probes": [asdict(probe) for probe in probes],
        "notes": notes,
    }
    replace_text(file, json.dumps(content, indent=1) + "\n")
    plots.save(pictures.audited(server_round, probes), picture := file.with_suffix(".png"))
    return Audit(server_round, probes, replies, notes, file, picture)


def _completed(opened: Opened, sent: State) -> State:
    """Return the model that was sent as the run probed it."""
    server = opened.server(opened.experiment, opened.engine)
    server.restore(sent, server.strategy_state())
    server.recalibrate_batchnorm()
    return server.state()


def _some(clients: Sequence[int]) -> set[int]:
    """Choose the clients to probe among those of a cohort, which is in the order of their sizes."""
    places = np.linspace(0, len(clients) - 1, min(CLIENTS, len(clients))).round()
    return {clients[int(place)] for place in places}


class _Probing:
    """Probes encoders, and compares them with the clients'."""

    def __init__(self, opened: Opened):
        experiment, splits = opened.experiment, opened.prepared.splits
        self._opened = opened
        # Both are measured: with statistics measured anew, and without.
        always = experiment.evaluation.model_copy(update={"recalibrate_bn": True})
        self._settings = experiment.evaluation.model_copy(update={"recalibrate_bn": False})
        self._examples: EvaluationExamples = gather(splits, always)
        self._labels = self._examples.test.labels
        if len(self._examples.train) == 0 or not bool((self._labels >= 0).any()):
            raise ConfigError("an audit probes with labels, and the run's examples have none")
        objective = opened.prepared.blueprint.build()
        self._encoder = objective.to(torch.device(experiment.engine.device)).encoder
        self._found: list[tuple[str | None, str, Mapping[str, float], np.ndarray]] = []

    def look(
        self, strategy: str | None, name: str, model: State, recalibrate: bool = False
    ) -> Mapping[str, float]:
        """Probe an encoder; return the figures.

        Raises
        ------
        RunError
            Its features are infinite or NaN.
        """
        prepared = self._opened.prepared
        encoder: nn.Module = copy.deepcopy(self._encoder).eval()
        own = {n.removeprefix("encoder."): t for n, t in model.items() if n.startswith("encoder.")}
        copy_into(encoder.state_dict(), own)
        if recalibrate:
            encoder = recalibrated(
                encoder, self._examples.recalibration, prepared.blueprint.preparation
            )
        subject = subject_of(prepared.blueprint, encoder, prepared.splits, self._examples, None)
        what = name if strategy is None else f"{strategy}: {name}"
        try:
            measured = evaluate(replace(subject, config=self._settings))
        except ValueError as error:
            raise RunError(f"round {self._opened.round}: {what}: {error}") from error
        assert measured.predictions is not None
        right = (measured.predictions.cpu() == self._labels)[self._labels >= 0].double().numpy()
        self._found.append((strategy, name, measured.figures, right))
        self._opened.steps.did(f"probed {what}")
        return measured.figures

    def result(self) -> list[EncoderProbe]:
        """Return all that was probed."""
        mean = np.mean([r for _, name, _, r in self._found if name.startswith("client ")], axis=0)
        return [
            EncoderProbe(
                name,
                strategy,
                found["linear_accuracy"],
                found["knn_accuracy"],
                found["rankme"],
                100 * float((right - mean).mean()),
                over_test_examples(right - mean),
            )
            for strategy, name, found, right in self._found
        ]
