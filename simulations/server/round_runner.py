"""Run a round's training: message the cohort, check the replies, merge them, check the result.

One client must neither end a run nor spoil it. A client whose reply cannot be used fails in the
round, and the replies of the others are merged. Where the merged model cannot be used although each
reply could, the client with the largest update is excluded, and the round is run again.
"""

import statistics
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import numpy as np
from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedssl.base.tracing import span
from fedssl.model_state import State, clone, federated_state, rebind_tensors, tensor_roles
from fedssl.model_state.check import first_error, first_too_large
from fedssl.objectives import Objective
from simulations.engines.engine import Engine
from simulations.engines.node_id import node_of
from simulations.errors import (
    BadModelError,
    MembersChangedError,
    RunError,
    TooFewRepliesError,
)
from simulations.progress.display import Display
from simulations.record.client_result import ClientResult
from simulations.record.members import describe_clients
from simulations.server.cohort_grid import CohortGrid
from simulations.server.reply_check import ReplyCheck
from simulations.settings.experiment import Experiment
from strategies import Stateful
from strategies.base import ROUND_ATTRIBUTES, build_extra
from strategies.messages import DIVERGENCE, to_record, to_state

OUTLIER_FACTOR = 10.0
"""An update this many times the median norm of the others is excluded."""


class RoundRunner:
    """Trains the global model, one round at a time.

    Parameters
    ----------
    experiment : Experiment
        The resolved config.
    objective : Objective
        The objective that holds the global model.
    strategy : Strategy
        The strategy that merges the clients' models.
    engine : Engine
        The engine that runs the clients.
    grid : Grid
        The engine, or a Grid that wraps it.
    sizes : np.ndarray
        int64 [K]: the number of examples of each client; used unless the client registered its own
        number with the engine.
    display : Display
        Shows each client's result as it comes.
    check_features : Callable[[], str | None]
        Returns an error where the encoder's features cannot be used, else None.
    """

    def __init__(
        self,
        experiment: Experiment,
        objective: Objective,
        strategy: Strategy,
        engine: Engine,
        grid: Grid,
        sizes: np.ndarray,
        display: Display,
        check_features: Callable[[], str | None],
    ):
        self._name = experiment.strategy.name
        self._objective = objective
        self._strategy = strategy
        self._engine = engine
        self._sizes = sizes
        self._display = display
        self._check_features = check_features
        self._parts = tensor_roles(objective)
        self._check = ReplyCheck(strategy, experiment.strategy, self._parts, self._size_of)
        self._computes_norms = self._check.computes_norms
        self._grid = CohortGrid(
            grid,
            node_of,
            self._check,
            display.on_client_result,
            self._check_enough,
        )
        self._round = 0
        self.merge_seconds = 0.0
        """The seconds that merging took in all rounds together."""

    @property
    def bytes_down(self) -> int:
        """Bytes sent to clients in the last round."""
        return self._grid.bytes_down

    def run(
        self, server_round: int, cohort: list[int], *, report_divergence: bool
    ) -> list[ClientResult]:
        """Let the cohort train the global model, and merge the replies.

        Parameters
        ----------
        server_round : int
            The round, from 1.
        cohort : list[int]
            The clients, in the order in which their replies are merged.
        report_divergence : bool
            Whether clients report δ.

        Returns
        -------
        list[ClientResult]
            The result of each client, in cohort order.

        Raises
        ------
        RunError
            Too few clients succeeded, or the strategy returned no model, one with other tensors, or
            one that cannot be used. The global model and the clients' states are as before.
        MembersChangedError
            Too few succeeded, because some of the cohort may no longer take part. Everything is as
            before.
        """
        self._round = server_round
        try:
            results = self._run_with_retries(cohort, report_divergence)
        except BaseException:
            self._engine.commit_states(server_round, ())
            raise
        self._engine.commit_states(
            server_round, [result.client for result in results if result.error is None]
        )
        return results

    def _run_with_retries(self, cohort: list[int], report_divergence: bool) -> list[ClientResult]:
        """Run the round until its replies can be merged; return the results in cohort order."""
        self._check.computes_norms = self._computes_norms
        restore_strategy = _snapshot(self._strategy)
        excluded: dict[int, ClientResult] = {}
        while active := [client for client in cohort if client not in excluded]:
            try:
                self._run_once(active, report_divergence)
            except MembersChangedError:
                restore_strategy()
                raise
            except TooFewRepliesError:
                excluded |= {
                    result.client: result for result in self._grid.results if result.refused
                }
            except BadModelError as error:
                if self._check.computes_norms:
                    result = self._exclude_outlier(str(error))
                    excluded[result.client] = result
                # Else once more, to find the client with the largest update.
                self._check.computes_norms = True
            else:
                results = excluded | {result.client: result for result in self._grid.results}
                return [results[client] for client in cohort]
            self._engine.commit_states(self._round, ())
            restore_strategy()
            self._display.on_round_start(self._round, [c for c in cohort if c not in excluded])
        raise RunError(self._too_few([excluded[client] for client in cohort]))

    def _run_once(self, cohort: list[int], report_divergence: bool) -> None:
        self._grid.begin_round(cohort)
        arrays = to_record(federated_state(self._objective))
        config = ConfigRecord({DIVERGENCE: report_divergence})
        where = f"round {self._round}: the strategy {self._name}"
        try:
            messages = self._strategy.configure_train(self._round, arrays, config, self._grid)
            replies = self._grid.send_and_receive(messages)
            with ExitStack() as merging:
                timed = merging.enter_context(closing(self._timed_replies(replies, merging)))
                merged, _ = self._strategy.aggregate_train(self._round, timed)
        except ArithmeticError as error:
            raise BadModelError(f"cannot merge these models: {error!r}") from error
        except ValueError as error:
            raise RunError(f"{where} failed: {error}") from error
        results = self._grid.results
        if len(results) < len(cohort):
            raise RunError(
                f"{where} took the answers of {len(results)} of {len(cohort)} clients; it must "
                "take all that the Grid lists"
            )
        if merged is None:
            raise RunError(f"{where} gave no model")
        try:
            self._adopt(to_state(merged))
        except ValueError as error:
            raise RunError(f"{where}: {error}") from error

    def _adopt(self, merged: State) -> None:
        """Make the merged model the global one; raise a BadModelError where it cannot be used."""
        before = federated_state(self._objective)
        rebind_tensors(self._objective, merged)
        model = federated_state(self._objective)
        fault = first_error(model, self._parts)
        if fault is None and (name := first_too_large(model)):
            fault = f"its tensor {name} is so large that its square is infinite"
        fault = fault or self._check_extra(model)
        if fault := fault or self._check_features():
            rebind_tensors(self._objective, before)
            raise BadModelError(f"gave a model that cannot be used: {fault}")

    def _check_extra(self, model: State) -> str | None:
        """Return an error where next round's extra tensors cannot be used, else None."""
        extra = build_extra(self._strategy, self._round + 1, model)
        fault = first_error(extra, self._parts)
        if fault is None and (name := first_too_large(extra)):
            fault = f"{name} is so large that its square is infinite"
        return None if fault is None else f"beside it, {fault}"

    def _exclude_outlier(self, reason: str) -> ClientResult:
        """Return the result of the client with the largest update, as one that is refused.

        Raises
        ------
        RunError
            No update is much larger than the others, so no single client is at fault.
        """
        norms = {result.client: result for result in self._grid.results if result.norm is not None}
        ranked = sorted(norms.values(), key=lambda result: result.norm or 0.0)
        where = f"round {self._round}: the strategy {self._name} {reason}"
        if not ranked:
            raise RunError(where)
        longest, others = ranked[-1], [result.norm or 0.0 for result in ranked[:-1]]
        median = statistics.median(others) if others else 0.0
        norm = longest.norm or 0.0
        if others and norm <= OUTLIER_FACTOR * median:
            raise RunError(
                f"{where}; no single client is responsible: the largest update is client "
                f"{longest.client}'s, of norm {norm:.3g}, and the others' median {median:.3g}. Try "
                "a lower client.lr, client.clip_norm, or other fields of the strategy"
            )
        error = (
            f"left out of the round: the strategy {self._name} {reason}; its update is the "
            f"largest, of norm {norm:.3g} (the others' median: {median:.3g})"
        )
        self._display.on_message(f"client {longest.client} is {error}")
        return replace(longest, error=error, refused=True)

    def _check_enough(self, results: Sequence[ClientResult]) -> None:
        """Check that enough clients succeeded, before the strategy finishes the merge.

        Raises
        ------
        MembersChangedError
            Too few did, and some of them may no longer take part.
        TooFewRepliesError
            Too few did, but running the round again may help.
        RunError
            Too few did, and running the round again cannot help.
        """
        succeeded = sum(result.error is None for result in results)
        min_clients = self._min_clients
        if succeeded >= max(min_clients, self._engine.min_replies(len(results))):
            return
        if departed := [
            result.client for result in results if not self._engine.is_member(result.client)
        ]:
            raise MembersChangedError(
                f"round {self._round} gets a new cohort: {succeeded} of {len(results)} clients "
                f"answered, and {describe_clients(departed)} left the federation"
            )
        retryable = [result for result in results if not result.refused]
        # Where all clients that answered failed by themselves, another try would fail, too.
        retry_is_pointless = not succeeded and any(not result.lost for result in retryable)
        if retry_is_pointless or not self._engine.repeats or len(retryable) < max(1, min_clients):
            raise RunError(self._too_few(results))
        self._engine.wait_to_repeat(succeeded, len(results))
        raise TooFewRepliesError(f"{succeeded} clients answered")

    def _too_few(self, results: Sequence[ClientResult]) -> str:
        """Return the error that too few clients succeeded, with the reason of the first failure."""
        failed = [result for result in results if result.error is not None]
        why = f"client {failed[0].client}: {failed[0].error}"
        if len(failed) == len(results):
            return f"round {self._round}: every client failed; {why}"
        return (
            f"round {self._round}: {len(results) - len(failed)} of {len(results)} clients "
            f"succeeded, but the strategy {self._name} needs {self._min_clients}; {why}"
        )

    @property
    def _min_clients(self) -> int:
        return int(getattr(self._strategy, "minimum_clients", 1))

    def _size_of(self, client: int) -> int:
        registered = self._engine.size_of(client)
        return int(self._sizes[client]) if registered is None else registered

    def _timed_replies(
        self, replies: Iterable[Message], merging: ExitStack
    ) -> Generator[Message, None, None]:
        """Yield the replies, and count the time that the strategy takes for each as merging."""
        for reply in replies:
            with self._timed_merge():
                yield reply
            del reply
        merging.enter_context(self._timed_merge())

    @contextmanager
    def _timed_merge(self) -> Iterator[None]:
        started_at = time.perf_counter()
        with span("merge"):
            yield
        self.merge_seconds += time.perf_counter() - started_at


def _snapshot(strategy: Strategy) -> Callable[[], None]:
    """Copy the state that a strategy keeps between rounds; return a function that restores it."""
    if isinstance(strategy, Stateful):
        # Copied, since a strategy from outside this package may write to its momentum in place.
        state = clone(strategy.state_dict())
        return lambda: strategy.load_state_dict(state)
    # Without the model of the last round, which `FoldingStrategy` replaces at the start of each.
    # The copy is shallow: a strategy that changes a field in place must be `Stateful`.
    fields = {name: v for name, v in vars(strategy).items() if name not in ROUND_ATTRIBUTES}

    def restore() -> None:
        vars(strategy).clear()
        vars(strategy).update(fields)

    return restore
