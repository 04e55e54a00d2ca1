"""The training of a round: ask the cohort, check what comes back, merge it, and look at the result.

One client must not end a run, or spoil it. A reply that cannot be used makes its client fail in the
round, and the others' are merged. Where the merged model cannot be used though each reply could,
the client with the longest update is left out, and the round is run again.
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
from simulations.errors import (
    BadModelError,
    MembersChangedError,
    RunError,
    TooFewAnswersError,
)
from simulations.progress.display import Display
from simulations.record.answer import Answer
from simulations.record.members import described
from simulations.server.cohort_grid import CohortGrid
from simulations.server.reply_check import ReplyCheck
from simulations.settings.experiment import Experiment
from strategies import Stateful
from strategies.base import ROUND_ATTRIBUTES, build_extra
from strategies.messages import DIVERGENCE, to_record, to_state

OUTLIER = 10.0
"""How many times as long as the others' median an update must be to be the one at fault."""


class Training:
    """Trains the global model, a round at a time.

    Parameters
    ----------
    experiment : Experiment
        Resolved.
    objective : Objective
        Holds the global model.
    strategy : Strategy
        How it is merged.
    engine : Engine
        Where the clients run.
    grid : Grid
        The engine, or a Grid around it.
    sizes : np.ndarray
        int64 [K]: how many examples each client has, unless it has registered with the engine.
    display : Display
        Shows the answers as they come.
    look : Callable[[], str | None]
        Says why the objective's encoder gives no features that can be used; None where it does.
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
        look: Callable[[], str | None],
    ):
        self._name = experiment.strategy.name
        self._objective = objective
        self._strategy = strategy
        self._engine = engine
        self._sizes = sizes
        self._display = display
        self._look = look
        self._parts = tensor_roles(objective)
        self._check = ReplyCheck(strategy, experiment.strategy, self._parts, self._size_of)
        self._measures_norms = self._check.measures
        self._grid = CohortGrid(
            grid, lambda client: client + 1, self._check, display.answered, self._check_enough
        )
        self._round = 0
        self.merge_seconds = 0.0
        """How long merging took in all."""

    @property
    def bytes_down(self) -> int:
        """The models sent to all clients of the last round."""
        return self._grid.bytes_down

    def run(self, server_round: int, cohort: list[int], *, measured: bool) -> list[Answer]:
        """Let the cohort train the global model, and merge what comes back.

        Parameters
        ----------
        server_round : int
            From 1.
        cohort : list[int]
            The clients, in the order in which they are merged.
        measured : bool
            Whether clients report δ.

        Returns
        -------
        list[Answer]
            What each client said, in cohort order.

        Raises
        ------
        RunError
            Too few clients succeeded, or the strategy gave no model, another one's, or one that
            cannot be used. The global model, and what clients keep, are as before.
        MembersChangedError
            Too few succeeded, but some of the cohort may no longer take part: all is as before.
        """
        self._round = server_round
        try:
            answers = self._until_merged(cohort, measured)
        except BaseException:
            self._engine.settle(server_round, ())
            raise
        self._engine.settle(server_round, [a.client for a in answers if a.error is None])
        return answers

    def _until_merged(self, cohort: list[int], measured: bool) -> list[Answer]:
        """Run the round until what comes back can be merged; return the answers in cohort order."""
        self._check.measures = self._measures_norms
        put_back = _keeper(self._strategy)
        refused: dict[int, Answer] = {}
        while asked := [client for client in cohort if client not in refused]:
            try:
                self._run_once(asked, measured)
            except MembersChangedError:
                put_back()
                raise
            except TooFewAnswersError:
                refused |= {a.client: a for a in self._grid.answers if a.refused}
            except BadModelError as error:
                if self._check.measures:
                    answer = self._left_out(str(error))
                    refused[answer.client] = answer
                # Else once more, to see whose update is the longest.
                self._check.measures = True
            else:
                answers = refused | {answer.client: answer for answer in self._grid.answers}
                return [answers[client] for client in cohort]
            self._engine.settle(self._round, ())
            put_back()
            self._display.began(self._round, [c for c in cohort if c not in refused])
        raise RunError(self._too_few([refused[client] for client in cohort]))

    def _run_once(self, cohort: list[int], measured: bool) -> None:
        self._grid.begin_round(cohort)
        arrays = to_record(federated_state(self._objective))
        config = ConfigRecord({DIVERGENCE: measured})
        where = f"round {self._round}: the strategy {self._name}"
        try:
            messages = self._strategy.configure_train(self._round, arrays, config, self._grid)
            replies = self._grid.send_and_receive(messages)
            with ExitStack() as merging:
                taken = merging.enter_context(closing(self._as_merged(replies, merging)))
                merged, _ = self._strategy.aggregate_train(self._round, taken)
        except ArithmeticError as error:
            raise BadModelError(f"cannot merge these models: {error!r}") from error
        except ValueError as error:
            raise RunError(f"{where} failed: {error}") from error
        answers = self._grid.answers
        if len(answers) < len(cohort):
            raise RunError(
                f"{where} took the answers of {len(answers)} of {len(cohort)} clients; it must "
                "take all that the Grid lists"
            )
        if merged is None:
            raise RunError(f"{where} gave no model")
        try:
            self._adopt(to_state(merged))
        except ValueError as error:
            raise RunError(f"{where}: {error}") from error

    def _adopt(self, merged: State) -> None:
        """Let the merged model become the global one; a BadModelError says that it cannot."""
        before = federated_state(self._objective)
        rebind_tensors(self._objective, merged)
        now = federated_state(self._objective)
        fault = first_error(now, self._parts)
        if fault is None and (name := first_too_large(now)):
            fault = f"its tensor {name} is so large that its square is infinite"
        fault = fault or self._fault_of_extra(now)
        if fault := fault or self._look():
            rebind_tensors(self._objective, before)
            raise BadModelError(f"gave a model that cannot be used: {fault}")

    def _fault_of_extra(self, model: State) -> str | None:
        """Say that what would go to clients beside the model cannot be used, if so."""
        extra = build_extra(self._strategy, self._round + 1, model)
        fault = first_error(extra, self._parts)
        if fault is None and (name := first_too_large(extra)):
            fault = f"{name} is so large that its square is infinite"
        return None if fault is None else f"beside it, {fault}"

    def _left_out(self, reason: str) -> Answer:
        """Return the client with the longest update, as one that is refused.

        Raises
        ------
        RunError
            None is much longer than the others': it is not a client that is at fault.
        """
        norms = {a.client: a for a in self._grid.answers if a.norm is not None}
        ranked = sorted(norms.values(), key=lambda answer: answer.norm or 0.0)
        where = f"round {self._round}: the strategy {self._name} {reason}"
        if not ranked:
            raise RunError(where)
        longest, others = ranked[-1], [answer.norm or 0.0 for answer in ranked[:-1]]
        usual = statistics.median(others) if others else 0.0
        norm = longest.norm or 0.0
        if others and norm <= OUTLIER * usual:
            raise RunError(
                f"{where}; it is not one client's doing: the longest update is client "
                f"{longest.client}'s, of norm {norm:.3g}, and the others' median {usual:.3g}. Try "
                "a lower client.lr, client.clip_norm, or other fields of the strategy"
            )
        error = (
            f"left out of the round: the strategy {self._name} {reason}; its update is the "
            f"longest, of norm {norm:.3g} (the others' median: {usual:.3g})"
        )
        self._display.said(f"client {longest.client} is {error}")
        return replace(longest, error=error, refused=True)

    def _check_enough(self, answers: Sequence[Answer]) -> None:
        """See that enough clients have answered, before they are merged.

        Raises
        ------
        MembersChangedError
            Too few, and some of them may no longer take part.
        TooFewAnswersError
            Too few, but it may help to run the round again.
        RunError
            Too few.
        """
        good = sum(answer.error is None for answer in answers)
        fewest = self._fewest
        if good >= max(fewest, self._engine.fewest(len(answers))):
            return
        if gone := [a.client for a in answers if not self._engine.is_member(a.client)]:
            raise MembersChangedError(
                f"round {self._round} is drawn anew: {good} of {len(answers)} clients answered, "
                f"and {described(gone)} left the federation"
            )
        left = [answer for answer in answers if not answer.refused]
        # Where all that answered failed by themselves, to ask again would not help.
        helpless = not good and any(not answer.lost for answer in left)
        if helpless or not self._engine.repeats or len(left) < max(1, fewest):
            raise RunError(self._too_few(answers))
        self._engine.wait_to_repeat(good, len(answers))
        raise TooFewAnswersError(f"{good} clients answered")

    def _too_few(self, answers: Sequence[Answer]) -> str:
        """Say that too few clients of a round succeeded, and why the first one failed."""
        failed = [answer for answer in answers if answer.error is not None]
        why = f"client {failed[0].client}: {failed[0].error}"
        if len(failed) == len(answers):
            return f"round {self._round}: every client failed; {why}"
        return (
            f"round {self._round}: {len(answers) - len(failed)} of {len(answers)} clients "
            f"succeeded, but the strategy {self._name} needs {self._fewest}; {why}"
        )

    @property
    def _fewest(self) -> int:
        return int(getattr(self._strategy, "minimum_clients", 1))

    def _size_of(self, client: int) -> int:
        registered = self._engine.size_of(client)
        return int(self._sizes[client]) if registered is None else registered

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
        self.merge_seconds += time.perf_counter() - begin


def _keeper(strategy: Strategy) -> Callable[[], None]:
    """Note what a strategy keeps between rounds; return what gives it back."""
    if isinstance(strategy, Stateful):
        # Copied, since a person's own strategy may write to its momentum in place.
        state = clone(strategy.state_dict())
        return lambda: strategy.load_state_dict(state)
    # Not the model of the last round, which `FoldingStrategy` replaces at the start of each.
    fields = {name: v for name, v in vars(strategy).items() if name not in ROUND_ATTRIBUTES}

    def put_back() -> None:
        vars(strategy).clear()
        vars(strategy).update(fields)

    return put_back
