"""The server of an experiment: it draws cohorts, lets a strategy merge, and measures the result."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from flwr.serverapp import Grid
from torch import Tensor

from fedssl.base.tracing import span
from fedssl.data import Splits
from fedssl.evaluation import EvaluationExamples, Subject, evaluate, gather
from fedssl.evaluation.features import extract
from fedssl.evaluation.recalibrate import recalibrated
from fedssl.model_state import (
    State,
    federated_state,
    floating_buffer_names,
    rebind_tensors,
    tensor_roles,
)
from fedssl.models.blueprint import ModelBlueprint
from fedssl.partitions import Partition
from simulations.engines.engine import Engine
from simulations.errors import RunError
from simulations.progress.display import Display
from simulations.record.answer import Answer
from simulations.server.subjects import after_update, subject_of
from simulations.server.training_round import Training
from simulations.settings.experiment import Experiment
from simulations.setup.cohort import draw_among, draw_cohort
from simulations.setup.prepare import cohort_fault
from strategies import Stateful
from strategies import build as build_strategy
from strategies.base import FoldingStrategy, shared_state
from strategies.server_step import ServerExamples

LOOKED_AT = 16
"""Examples by which a merged model's statistics are measured, where clients keep theirs."""
FEATURES_OF = 2
"""Examples whose features are looked at in every round."""


class Server:
    """The global model, and the rounds that train it.

    Parameters
    ----------
    experiment : Experiment
        Resolved.
    blueprint : ModelBlueprint
        Of its model.
    splits : Splits
        The examples; only their sizes and the probe's part are used here.
    partition : Partition
        Who has how many.
    engine : Engine
        Where the clients run.
    display : Display
        Shows the answers as they come.
    on_devices : bool (default: False)
        Whether the clients' examples are elsewhere, so that ``partition`` is of none of ``splits``.
    grid : Grid | None (default: None)
        A Grid around the engine; None for the engine itself.
    """

    def __init__(
        self,
        experiment: Experiment,
        blueprint: ModelBlueprint,
        splits: Splits,
        partition: Partition,
        engine: Engine,
        display: Display,
        on_devices: bool = False,
        grid: Grid | None = None,
    ):
        self.experiment = experiment
        self.blueprint = blueprint
        device = torch.device(experiment.engine.device)
        self.objective = blueprint.build().to(device)
        self._strategy = build_strategy(experiment.strategy, tensor_roles(self.objective))
        if isinstance(self._strategy, FoldingStrategy) and self._strategy.requires_server_examples:
            self._strategy.server_examples = ServerExamples(splits.train, blueprint, device)
        self._splits = splits
        self._partition = None if on_devices else partition
        self._sizes = partition.sizes()
        self._engine = engine
        self._training = Training(
            experiment,
            self.objective,
            self._strategy,
            engine,
            grid or engine,
            self._sizes,
            display,
            self._fault_of_features,
        )
        self._predicted: Tensor | None = None

    def state(self) -> State:
        """Return the global model: the federated tensors, which nobody writes to."""
        return federated_state(self.objective)

    def shared(self) -> State:
        """Return those of the global model's tensors that travel."""
        return shared_state(self._strategy, self.state())

    def strategy_state(self) -> State:
        """Return what the strategy keeps between rounds; empty for most."""
        return self._strategy.state_dict() if isinstance(self._strategy, Stateful) else {}

    def restore(self, model: Mapping[str, Tensor], strategy: Mapping[str, Tensor]) -> None:
        """Put the server back to where a checkpoint found it."""
        rebind_tensors(self.objective, model)
        if isinstance(self._strategy, Stateful):
            self._strategy.load_state_dict(dict(strategy))

    def draw_cohort(self, server_round: int) -> list[int]:
        """Return the clients of a round, in the order in which they are merged.

        Where clients come and go, those of now are noted as the round's; see `MemberRecord`.

        Raises
        ------
        RunError
            They were too few for too long.
        """
        experiment, record = self.experiment, self._engine.members
        if record is not None:
            record.begin(server_round, self._engine.wait_for_members(self._cohort_fault))
        if experiment.only_client is not None:
            return [experiment.only_client]
        seed, participation = experiment.seed, experiment.participation
        if record is not None:
            return draw_among(record.members(server_round), seed, server_round, participation)
        return draw_cohort(seed, server_round, self._sizes, participation)

    def _cohort_fault(self, clients: Collection[int]) -> str | None:
        return cohort_fault(self.experiment, clients, self._strategy)

    def train(self, server_round: int, cohort: list[int]) -> list[Answer]:
        """Let the cohort train the global model, and merge what comes back.

        Returns
        -------
        list[Answer]
            What each client said, in cohort order.

        Raises
        ------
        RunError
            See `Training.run`.
        """
        if isinstance(self._strategy, FoldingStrategy):
            self._strategy.population = self._population(server_round)
        return self._training.run(server_round, cohort, measured=self._is_measured(server_round))

    def _population(self, server_round: int) -> int:
        """Return how many clients could have been drawn for a round."""
        if self.experiment.only_client is not None:
            return 1
        record = self._engine.members
        return len(self._sizes) if record is None else len(record.members(server_round))

    def _is_measured(self, server_round: int) -> bool:
        last = server_round == self.experiment.rounds
        return last or server_round % self.experiment.evaluation.every == 0

    def measure(self, server_round: int) -> dict[str, float]:
        """Evaluate the global model centrally, where the round is due for it."""
        if not self._is_measured(server_round):
            return {}
        try:
            with span("probe"):
                self.complete()
                subject, further = self._subject(server_round), self.experiment.evaluation.measures
                measured = evaluate(subject, further)
        except ValueError as error:
            raise RunError(f"round {server_round}: {error}") from error
        self._predicted = measured.predictions
        return dict(measured.figures)

    def _subject(self, server_round: int) -> Subject:
        """Return the global model as measures see it."""
        experiment, splits, partition = self.experiment, self._splits, self._partition
        update = None
        if partition is not None:
            update = after_update(experiment, splits, partition, self.state, max(1, server_round))
        return subject_of(
            self.blueprint,
            self.objective.encoder,
            splits,
            self._gathered,
            partition,
            after_update=update,
        )

    def predictions(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the test examples' labels and what the last probe took them for, int64 [M] each.

        None where there was no probe. Label -1: it has none.
        """
        if self._predicted is None:
            return None
        return self._gathered.test.labels.numpy(), self._predicted.cpu().numpy()

    @cached_property
    def _gathered(self) -> EvaluationExamples:
        # Once for all rounds: fetching examples on demand can be slow.
        config = self.experiment.evaluation
        if self._lacks_statistics:
            config = config.model_copy(update={"recalibrate_bn": True})
        return gather(self._splits, config)

    @property
    def _lacks_statistics(self) -> bool:
        """Whether clients keep BatchNorm's statistics, so that the server must measure its own."""
        names, shared = floating_buffer_names(self.objective.encoder), self.shared()
        return any(f"encoder.{name}" not in shared for name in names)

    def _clipped(self, good: Sequence[Answer]) -> dict[str, int]:
        """Return how many updates were shortened, where there is a limit."""
        if self.experiment.strategy.max_update_norm is None:
            return {}
        return {"clipped": sum(answer.clipped for answer in good)}

    @cached_property
    def _looked_at(self) -> Tensor:
        # Of those that the evaluation has fetched anyway.
        examples = self._gathered.test
        return examples.fetch(np.arange(min(LOOKED_AT, len(examples))))

    def _fault_of_features(self) -> str | None:
        """Say that the encoder gives no finite features of a few fixed examples, if so."""
        preparation, encoder = self.blueprint.preparation, self.objective.encoder
        if self._lacks_statistics:
            encoder = recalibrated(encoder, self._looked_at, preparation)
        features = extract(encoder, self._looked_at[:FEATURES_OF], preparation)
        return None if features.isfinite().all() else "its features are infinite or NaN"

    def complete(self) -> None:
        """Measure the encoder's statistics, where clients keep theirs; no client ever sees them."""
        if not self._lacks_statistics:
            return
        measured = recalibrated(
            self.objective.encoder, self._gathered.recalibration, self.blueprint.preparation
        )
        own = {f"encoder.{name}": tensor for name, tensor in measured.state_dict().items()}
        rebind_tensors(self.objective, self.state() | own)

    def round(self, server_round: int, cohort: list[int]) -> tuple[dict[str, object], list[Answer]]:
        """Run a round: train, merge, measure; round 0 measures the untrained encoder alone.

        Returns
        -------
        tuple[dict[str, object], list[Answer]]
            The row for ``metrics.jsonl``, and the clients' answers.
        """
        begin, merged = time.perf_counter(), self._training.merge_seconds
        answers = self.train(server_round, cohort) if server_round else []
        trained = time.perf_counter()
        measures = self.measure(server_round)
        end = time.perf_counter()
        good = [answer for answer in answers if answer.error is None]
        first: dict[str, object] = {
            "round": server_round,
            "cohort": cohort,
            "failed": [answer.client for answer in answers if answer.error is not None],
            "failed_reasons": {str(a.client): a.error for a in answers if a.error is not None},
            **self._clipped(good),
            "train_loss": _mean_loss(good),
        }
        last: dict[str, object] = {
            "bytes_up": sum(answer.bytes_up for answer in good),
            "bytes_down": self._training.bytes_down if server_round else 0,
            "seconds": round(end - begin, 3),
            "train_seconds": round(trained - begin, 3),
            "merge_seconds": round(self._training.merge_seconds - merged, 3),
            "evaluate_seconds": round(end - trained, 3),
            "client_seconds": round(sum(answer.seconds for answer in good), 3),
        }
        if taken := sorted(measures.keys() & (first.keys() | last.keys())):
            raise RunError(
                f"evaluation.measures: one gives a figure {taken[0]}, which every round has; call "
                "it otherwise"
            )
        return first | measures | last, answers


def _mean_loss(good: Sequence[Answer]) -> float | None:
    """Return the mean training loss by examples, over the clients that tell theirs."""
    told = [answer for answer in good if not math.isnan(answer.loss)]
    examples = sum(answer.examples for answer in told)
    return sum(a.examples * a.loss for a in told) / examples if told else None
