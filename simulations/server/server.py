"""The server of an experiment: it draws cohorts, merges by a strategy, and evaluates the model."""

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
from simulations.record.client_result import ClientResult
from simulations.server.round_runner import RoundRunner
from simulations.server.subjects import after_update, subject_of
from simulations.settings.experiment import Experiment
from simulations.setup.cohort import draw_cohort, draw_cohort_of_members
from simulations.setup.prepare import cohort_fault
from strategies import Stateful
from strategies import build as build_strategy
from strategies.base import FoldingStrategy, shared_state
from strategies.server_step import ServerExamples

FIXED_EXAMPLES = 16
"""Examples for the check of a merged model: BatchNorm is recalibrated on them first, where its
statistics stay on the clients."""
CHECKED_EXAMPLES = 2
"""Examples whose features must be finite after each merge."""


class Server:
    """Holds the global model, and runs the rounds that train it.

    Parameters
    ----------
    experiment : Experiment
        The resolved config.
    blueprint : ModelBlueprint
        The blueprint of the experiment's model.
    splits : Splits
        The examples; the server uses those of the central evaluation.
    partition : Partition
        Which client has which training examples.
    engine : Engine
        The engine that runs the clients.
    display : Display
        Shows each client's result as it comes.
    on_devices : bool (default: False)
        Whether clients hold their own data, so that ``partition`` does not index ``splits``.
    grid : Grid | None (default: None)
        A Grid that wraps the engine; None for the engine itself.
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
        self._round_runner = RoundRunner(
            experiment,
            self.objective,
            self._strategy,
            engine,
            grid or engine,
            self._sizes,
            display,
            self._check_features,
        )
        self._predicted_labels: Tensor | None = None

    def state(self) -> State:
        """Return the global model's tensors; they must not be written to."""
        return federated_state(self.objective)

    def shared(self) -> State:
        """Return the tensors of the global model that the server and the clients exchange."""
        return shared_state(self._strategy, self.state())

    def strategy_state(self) -> State:
        """Return the state that the strategy keeps between rounds; empty for most."""
        return self._strategy.state_dict() if isinstance(self._strategy, Stateful) else {}

    def restore(self, model: Mapping[str, Tensor], strategy: Mapping[str, Tensor]) -> None:
        """Restore the global model and the strategy's state from a checkpoint."""
        rebind_tensors(self.objective, model)
        if isinstance(self._strategy, Stateful):
            self._strategy.load_state_dict(dict(strategy))

    def draw_cohort(self, server_round: int) -> list[int]:
        """Return the clients of a round, in the order in which they are merged.

        Where clients come and go, it waits until enough of them may take part, and records them as
        the members of the round; see `MemberRecord`.

        Raises
        ------
        RunError
            Too few clients could take part for too long.
        """
        experiment, members = self.experiment, self._engine.members
        if members is not None:
            members.begin(server_round, self._engine.wait_for_members(self._cohort_fault))
        if experiment.only_client is not None:
            return [experiment.only_client]
        seed, participation = experiment.seed, experiment.participation
        if members is not None:
            return draw_cohort_of_members(
                members.members(server_round), seed, server_round, participation
            )
        return draw_cohort(seed, server_round, self._sizes, participation)

    def _cohort_fault(self, clients: Collection[int]) -> str | None:
        return cohort_fault(self.experiment, clients, self._strategy)

    def train(self, server_round: int, cohort: list[int]) -> list[ClientResult]:
        """Let the cohort train the global model, and merge the replies.

        Returns
        -------
        list[ClientResult]
            The result of each client, in cohort order.

        Raises
        ------
        RunError
            See `RoundRunner.run`.
        """
        if isinstance(self._strategy, FoldingStrategy):
            self._strategy.population = self._population(server_round)
        return self._round_runner.run(
            server_round, cohort, report_divergence=self._is_evaluated(server_round)
        )

    def _population(self, server_round: int) -> int:
        """Return the number of clients that could have been drawn for a round."""
        if self.experiment.only_client is not None:
            return 1
        members = self._engine.members
        return len(self._sizes) if members is None else len(members.members(server_round))

    def _is_evaluated(self, server_round: int) -> bool:
        last = server_round == self.experiment.rounds
        return last or server_round % self.experiment.evaluation.every == 0

    def evaluate_round(self, server_round: int) -> dict[str, float]:
        """Evaluate the global model; return no metrics in a round without an evaluation."""
        if not self._is_evaluated(server_round):
            return {}
        try:
            with span("probe"):
                self.recalibrate_batchnorm()
                subject, measures = self._subject(server_round), self.experiment.evaluation.measures
                measured = evaluate(subject, measures)
        except ValueError as error:
            raise RunError(f"round {server_round}: {error}") from error
        self._predicted_labels = measured.predictions
        return dict(measured.figures)

    def _subject(self, server_round: int) -> Subject:
        """Return the global model as the subject of the measures."""
        experiment, splits = self.experiment, self._splits
        # Only further measures use it, and the owners of all examples take time to list.
        partition = self._partition if experiment.evaluation.measures else None
        encoder_after_update = None
        if partition is not None:
            encoder_after_update = after_update(
                experiment, splits, partition, self.state, max(1, server_round)
            )
        return subject_of(
            self.blueprint,
            self.objective.encoder,
            splits,
            self._evaluation_data,
            partition,
            after_update=encoder_after_update,
        )

    def predictions(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the test examples' labels and the last probe's predictions, int64 [M] each.

        None where there was no probe. Label -1 is of an example without a label.
        """
        if self._predicted_labels is None:
            return None
        return self._evaluation_data.test.labels.numpy(), self._predicted_labels.cpu().numpy()

    @cached_property
    def _evaluation_data(self) -> EvaluationExamples:
        # Once for all rounds: fetching examples on demand can be slow.
        config = self.experiment.evaluation
        if self._must_recalibrate:
            config = config.model_copy(update={"recalibrate_bn": True})
        return gather(self._splits, config)

    @property
    def _must_recalibrate(self) -> bool:
        """Whether clients keep BatchNorm's statistics, so that the server must estimate its own."""
        names, shared = floating_buffer_names(self.objective.encoder), self.shared()
        return any(f"encoder.{name}" not in shared for name in names)

    def _clipped(self, succeeded: Sequence[ClientResult]) -> dict[str, int]:
        """Return the number of clipped updates as a metric, where there is a limit."""
        if self.experiment.strategy.max_update_norm is None:
            return {}
        return {"clipped": sum(result.clipped for result in succeeded)}

    @cached_property
    def _fixed_examples(self) -> Tensor:
        # Of those that the evaluation has fetched already.
        examples = self._evaluation_data.test
        return examples.fetch(np.arange(min(FIXED_EXAMPLES, len(examples))))

    def _check_features(self) -> str | None:
        """Return an error where features of a few fixed examples are not finite, else None."""
        preparation, encoder = self.blueprint.preparation, self.objective.encoder
        if self._must_recalibrate:
            encoder = recalibrated(encoder, self._fixed_examples, preparation)
        features = extract(encoder, self._fixed_examples[:CHECKED_EXAMPLES], preparation)
        return None if features.isfinite().all() else "its features are infinite or NaN"

    def recalibrate_batchnorm(self) -> None:
        """Re-estimate BatchNorm's statistics where clients keep theirs; clients never get these."""
        if not self._must_recalibrate:
            return
        encoder = recalibrated(
            self.objective.encoder, self._evaluation_data.recalibration, self.blueprint.preparation
        )
        tensors = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
        rebind_tensors(self.objective, self.state() | tensors)

    def run_round(
        self, server_round: int, cohort: list[int]
    ) -> tuple[dict[str, object], list[ClientResult]]:
        """Run a round: train, merge, evaluate; round 0 only evaluates the untrained encoder.

        Returns
        -------
        tuple[dict[str, object], list[ClientResult]]
            The row for ``metrics.jsonl``, and the clients' results.
        """
        started_at, merge_seconds_before = time.perf_counter(), self._round_runner.merge_seconds
        results = self.train(server_round, cohort) if server_round else []
        trained_at = time.perf_counter()
        metrics = self.evaluate_round(server_round)
        ended_at = time.perf_counter()
        succeeded = [result for result in results if result.error is None]
        columns_before: dict[str, object] = {
            "round": server_round,
            "cohort": cohort,
            "failed": [result.client for result in results if result.error is not None],
            "failed_reasons": {
                str(result.client): result.error for result in results if result.error is not None
            },
            **self._clipped(succeeded),
            "train_loss": _mean_loss(succeeded),
        }
        columns_after: dict[str, object] = {
            "bytes_up": sum(result.bytes_up for result in succeeded),
            "bytes_down": self._round_runner.bytes_down if server_round else 0,
            "seconds": round(ended_at - started_at, 3),
            "train_seconds": round(trained_at - started_at, 3),
            "merge_seconds": round(self._round_runner.merge_seconds - merge_seconds_before, 3),
            "evaluate_seconds": round(ended_at - trained_at, 3),
            "client_seconds": round(sum(result.seconds for result in succeeded), 3),
        }
        reserved = columns_before.keys() | columns_after.keys()
        if conflicts := sorted(metrics.keys() & reserved):
            raise RunError(
                f"evaluation.measures: one gives a figure {conflicts[0]}, which every round has; "
                "call it otherwise"
            )
        return columns_before | metrics | columns_after, results


def _mean_loss(succeeded: Sequence[ClientResult]) -> float | None:
    """Return the training loss of the clients that report it, weighted by their examples."""
    with_loss = [result for result in succeeded if not math.isnan(result.loss)]
    if not with_loss:
        return None
    total_examples = sum(result.examples for result in with_loss)
    return sum(result.examples * result.loss for result in with_loss) / total_examples
