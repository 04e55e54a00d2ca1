"""The server of an experiment: it draws cohorts, lets a strategy merge, and measures the result."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property

import numpy as np
import torch
from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid
from torch import Tensor

from fedssl.data import Splits
from fedssl.evaluation import Gathered, evaluate, gather, measure
from fedssl.evaluation.recalibrate import recalibrated
from fedssl.local_update import build_objective
from fedssl.partitions import Partition
from fedssl.state import State, adopt, federated_state, floating_buffers, model_parts
from fedssl.timeline import span
from simulations.cohort import Answer, CohortGrid, draw_cohort
from simulations.display import Display
from simulations.errors import RunError, TooFewAnswersError
from simulations.experiment import Experiment
from simulations.subjects import after_update, subject_of
from strategies import Stateful
from strategies import build as build_strategy
from strategies.base import shared_state
from strategies.messages import DIVERGENCE, to_record, to_state


class Server:
    """The global model, and the rounds that train it.

    Parameters
    ----------
    experiment : Experiment
        Resolved.
    splits : Splits
        The images; only their sizes and the probe's part are used here.
    partition : Partition
        Who has how many.
    grid : Grid
        The engine; node n is client n - 1.
    display : Display
        Shows the answers as they come.
    on_devices : bool (default: False)
        Whether the clients' images are elsewhere, so that ``partition`` is of none of ``splits``.
    """

    def __init__(
        self,
        experiment: Experiment,
        splits: Splits,
        partition: Partition,
        grid: Grid,
        display: Display,
        on_devices: bool = False,
    ):
        self.experiment = experiment
        self.image_size = splits.train.images.shape[-1]
        device = torch.device(experiment.engine.device)
        self.objective = build_objective(experiment, self.image_size).to(device)
        self._strategy = build_strategy(experiment.strategy, model_parts(self.objective))
        self._splits = splits
        self._partition = None if on_devices else partition
        self._sizes = partition.sizes()
        self._grid = CohortGrid(grid, lambda client: client + 1, display.answered)
        self._merge_seconds = 0.0
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
        adopt(self.objective, model)
        if isinstance(self._strategy, Stateful):
            self._strategy.load_state_dict(dict(strategy))

    def draw_cohort(self, server_round: int) -> list[int]:
        """Return the clients of a round, in the order in which they are merged."""
        experiment = self.experiment
        if experiment.only_client is not None:
            return [experiment.only_client]
        return draw_cohort(experiment.seed, server_round, self._sizes, experiment.participation)

    def train(self, server_round: int, cohort: list[int]) -> list[Answer]:
        """Let the cohort train the global model, and merge what comes back.

        Returns
        -------
        list[Answer]
            What each client said, in cohort order.

        Raises
        ------
        RunError
            No client succeeded, or the strategy gave no model or another one's.
        """
        before = self.strategy_state()
        while True:
            try:
                return self._train_once(server_round, cohort)
            except TooFewAnswersError:
                if isinstance(self._strategy, Stateful):
                    self._strategy.load_state_dict(before)

    def _train_once(self, server_round: int, cohort: list[int]) -> list[Answer]:
        self._grid.begin_round(cohort)
        arrays = to_record(self.state())
        config = ConfigRecord({DIVERGENCE: self._is_measured(server_round)})
        name = self.experiment.strategy.name
        try:
            messages = self._strategy.configure_train(server_round, arrays, config, self._grid)
            replies = self._grid.send_and_receive(messages)
            with ExitStack() as merging:
                taken = merging.enter_context(closing(self._as_merged(replies, merging)))
                merged, _ = self._strategy.aggregate_train(server_round, taken)
        except ValueError as error:
            raise RunError(f"round {server_round}: the strategy {name} failed: {error}") from error
        answers = self._grid.answers
        if len(answers) < len(cohort):
            raise RunError(
                f"round {server_round}: the strategy {name} took the answers of {len(answers)} of "
                f"{len(cohort)} clients; it must take all that the Grid lists"
            )
        if all(answer.error for answer in answers):
            reason = f"client {answers[0].client}: {answers[0].error}"
            raise RunError(f"round {server_round}: every client failed; {reason}")
        if merged is None:
            raise RunError(f"round {server_round}: the strategy {name} gave no model")
        try:
            adopt(self.objective, to_state(merged))
        except ValueError as error:
            raise RunError(f"round {server_round}: the strategy {name}: {error}") from error
        return answers

    def _is_measured(self, server_round: int) -> bool:
        last = server_round == self.experiment.rounds
        return last or server_round % self.experiment.evaluation.every == 0

    def measure(self, server_round: int) -> dict[str, float]:
        """Evaluate the global model centrally, where the round is due for it."""
        if not self._is_measured(server_round):
            return {}
        config, data = self.experiment.evaluation, self.experiment.data
        try:
            with span("probe"):
                self.complete()
                found = evaluate(
                    self.objective.encoder,
                    self._gathered,
                    config,
                    data.mean,
                    data.std,
                    self._note_predicted,
                )
                return found | self._measure_further(server_round)
        except ValueError as error:
            raise RunError(f"round {server_round}: {error}") from error

    def _measure_further(self, server_round: int) -> dict[str, float]:
        """Return the figures of ``evaluation.measures``."""
        experiment, splits, partition = self.experiment, self._splits, self._partition
        if not experiment.evaluation.measures:
            return {}
        update = None
        if partition is not None:
            update = after_update(experiment, splits, partition, self.state, max(1, server_round))
        subject = subject_of(
            experiment,
            self.objective.encoder,
            splits,
            self._gathered,
            partition,
            after_update=update,
        )
        found: dict[str, float] = {}
        for name in experiment.evaluation.measures:
            found |= measure(name, subject).figures
        return found

    def _note_predicted(self, labels: Tensor) -> None:
        self._predicted = labels

    def predictions(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the test images' labels and what the last probe took them for, int64 [M] each.

        None where there was no probe. Label -1: it has none.
        """
        if self._predicted is None:
            return None
        return self._gathered.test.labels.numpy(), self._predicted.cpu().numpy()

    @cached_property
    def _gathered(self) -> Gathered:
        # Once for all rounds: fetching images on demand can be slow.
        config = self.experiment.evaluation
        if self._lacks_statistics:
            config = config.model_copy(update={"recalibrate_bn": True})
        return gather(self._splits, config)

    @property
    def _lacks_statistics(self) -> bool:
        """Whether clients keep BatchNorm's statistics, so that the server must measure its own."""
        names, shared = floating_buffers(self.objective.encoder), self.shared()
        return any(f"encoder.{name}" not in shared for name in names)

    def complete(self) -> None:
        """Measure the encoder's statistics, where clients keep theirs; no client ever sees them."""
        if not self._lacks_statistics:
            return
        data = self.experiment.data
        measured = recalibrated(
            self.objective.encoder, self._gathered.recalibration, data.mean, data.std
        )
        own = {f"encoder.{name}": tensor for name, tensor in measured.state_dict().items()}
        adopt(self.objective, self.state() | own)

    def round(self, server_round: int, cohort: list[int]) -> tuple[dict[str, object], list[Answer]]:
        """Run a round: train, merge, measure; round 0 measures the untrained encoder alone.

        Returns
        -------
        tuple[dict[str, object], list[Answer]]
            The row for ``metrics.jsonl``, and the clients' answers.
        """
        begin = time.perf_counter()
        self._merge_seconds = 0.0
        answers = self.train(server_round, cohort) if server_round else []
        trained = time.perf_counter()
        measures = self.measure(server_round)
        end = time.perf_counter()
        good = [answer for answer in answers if answer.error is None]
        examples = sum(answer.examples for answer in good)
        row: dict[str, object] = {
            "round": server_round,
            "cohort": cohort,
            "failed": [answer.client for answer in answers if answer.error is not None],
            "train_loss": sum(a.examples * a.loss for a in good) / examples if good else None,
            **measures,
            "bytes_up": sum(answer.bytes_up for answer in good),
            "bytes_down": self._grid.bytes_down,
            "seconds": round(end - begin, 3),
            "train_seconds": round(trained - begin, 3),
            "merge_seconds": round(self._merge_seconds, 3),
            "evaluate_seconds": round(end - trained, 3),
            "client_seconds": round(sum(answer.seconds for answer in good), 3),
        }
        return row, answers

    def _as_merged(
        self, replies: Iterable[Message], merging: ExitStack
    ) -> Generator[Message, None, None]:
        """Yield the replies; what a strategy does between and after them is merging."""
        for reply in replies:
            with self._merging():
                yield reply
            del reply
        merging.enter_context(self._merging())

    @contextmanager
    def _merging(self) -> Iterator[None]:
        begin = time.perf_counter()
        with span("merge"):
            yield
        self._merge_seconds += time.perf_counter() - begin
