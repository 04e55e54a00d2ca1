"""Does a strategy keep its contract?"""

import gc
import json
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from fedssl.data import Dataset
from fedssl.model_state import State, clone, tensor_roles
from fedssl.model_state.check import first_not_finite
from fedssl.models.blueprint import ModelBlueprint
from fedssl.testing.setting import EXAMPLES, IMAGES, Clients
from fedssl.testing.shared import (
    check_documented,
    check_section,
    close,
    find_plugin,
    nothing_drawn,
    require,
    require_same,
    through_file,
    unchanged,
)
from fedssl.training.instructions import Instructions
from strategies import STRATEGIES, FoldingStrategy, Stateful, StrategyConfig, build
from strategies.base import build_instructions, shared_state
from strategies.collected import Collected
from strategies.fold import Fold, UpdateSummary, merge
from strategies.messages import CHANCE_LOSS, STEPS
from strategies.server_step import ServerExamples, ServerStep
from strategies.summed import add_up, contribution, finish, is_sum

CLIENTS = 4
"""So many clients answer, or as many more as the strategy needs."""
ROUNDS = 3
BATCH = EXAMPLES + 1
"""So large that clients take a step or two."""


@dataclass(frozen=True)
class _Answer:
    """What a client's update is to the server."""

    state: State
    summary: UpdateSummary


@dataclass
class _Round:
    """A round as it was, so that it can be had again."""

    number: int
    sent: State
    """The whole global model before it."""
    awaited: State
    """Those of its tensors that come back."""
    answers: list[_Answer] = field(default_factory=list)


def check_strategy(strategy: type[FoldingStrategy] | str, **fields: object) -> None:
    """Check that a strategy keeps its contract, as `FoldingStrategy`, `Fold` and `Stateful` say.

    A few clients train a small BYOL model for three rounds, with all that the strategy has them do.

    Parameters
    ----------
    strategy : type[FoldingStrategy] | str
        Its class, its registered name, or its dotted path.
    **fields : object
        Fields of the ``strategy`` section that shall differ from their defaults.

    Raises
    ------
    AssertionError
        It does not; the message says what, and where it can be seen.
    ValueError
        There is no such strategy, a field is wrong, or it is no `FoldingStrategy`, of which alone
        more is asked than that Flower takes it.

    Examples
    --------
        from fedssl.testing import check_strategy
        check_strategy("fedavg", weighting="uniform")
    """
    plugin = find_plugin(STRATEGIES, strategy, fields)
    if not issubclass(plugin.found, FoldingStrategy):
        raise ValueError(f"strategy {plugin.name}: is no strategies.FoldingStrategy")
    check_documented(plugin)
    config = cast(StrategyConfig, STRATEGIES.read(plugin.section))
    check_section(config, f"strategy {plugin.name}")
    _Check(f"strategy {plugin.name}", config).run()


class _Check:
    """A strategy at work."""

    def __init__(self, where: str, config: StrategyConfig):
        self.where = where
        self.config = config
        self.blueprint: ModelBlueprint = IMAGES.blueprint(
            objective={"name": "byol"}, client={"batch_size": BATCH}
        )
        self.parts = tensor_roles(self.blueprint.build())
        self.clients = Clients(IMAGES, self.blueprint)
        self.privates: dict[int, State] = {}

    def run(self) -> None:
        strategy = self.made()
        self._check_fresh(strategy)
        played: list[_Round] = []
        sent = self.clients.initial
        for number in range(1, ROUNDS + 1):
            before = self._kept(strategy)
            turn = self._train(strategy, number, sent)
            self._check_order(before, turn)
            self._check_sum(before, turn)
            self._check_memory(before, turn)
            sent = self._check_merge(strategy, turn)
            played.append(turn)
        self._check_resume(played)
        self._check_still(self.made(), played[0])

    def made(self, kept: Mapping[str, Tensor] | None = None) -> FoldingStrategy:
        """Return a new one, which takes up what another kept."""
        strategy = build(self.config, self.parts)
        assert isinstance(strategy, FoldingStrategy)
        strategy.population = self._count(strategy) + 2
        if strategy.requires_server_examples:
            dataset = Dataset(IMAGES.examples(EXAMPLES, 99), torch.full((EXAMPLES,), -1), ())
            strategy.server_examples = ServerExamples(dataset, self.blueprint, torch.device("cpu"))
        if kept is not None and isinstance(strategy, Stateful):
            strategy.load_state_dict(kept)
        return strategy

    @staticmethod
    def _count(strategy: FoldingStrategy) -> int:
        return max(CLIENTS, strategy.minimum_clients)

    def _kept(self, strategy: FoldingStrategy) -> State | None:
        """Return what a checkpoint would hold, through a file."""
        return through_file(strategy.state_dict()) if isinstance(strategy, Stateful) else None

    def _check_fresh(self, strategy: FoldingStrategy) -> None:
        with nothing_drawn(f"{self.where}: building it"):
            self.made()
        require(
            isinstance(strategy.minimum_clients, int) and strategy.minimum_clients >= 1,
            f"{self.where}: minimum_clients is {strategy.minimum_clients}: it must be 1 or more",
        )
        if isinstance(strategy, Stateful):
            state = strategy.state_dict()
            self.made(through_file(state))
            odd = [name for name, t in state.items() if not isinstance(t, Tensor)]
            require(not odd, f"{self.where}: state_dict holds {odd[:1]}, which is no tensor")

    def _instructions(self, strategy: FoldingStrategy, turn: _Round) -> Instructions:
        """Return what clients are told, as they read it."""
        instructions = build_instructions(strategy, turn.number, turn.sent)
        config = instructions.to_config()
        try:
            json.dumps(config)
            parsed = Instructions.from_config(config)
        except ValueError as error:
            raise AssertionError(f"{self.where}: clients refuse what it tells: {error}") from error
        require(
            parsed.to_config() == config,
            f"{self.where}: clients read {parsed.to_config()} of the message {config}",
        )
        plan = instructions.transmission
        odd = {*plan.scheduled, *plan.withheld} - set(turn.sent)
        require(not odd, f"{self.where}: its plan names {sorted(odd)[:1]}, which is no tensor")
        return instructions

    def _train(self, strategy: FoldingStrategy, number: int, sent: State) -> _Round:
        """Have clients answer, each by all rules of the strategy, for real."""
        turn = _Round(number, sent, {})
        with unchanged(sent, self.where, "the global model"), nothing_drawn(self.where):
            instructions = self._instructions(strategy, turn)
            shared = shared_state(strategy, sent)
            extra = strategy.extra(number, sent)
        turn.awaited = {
            n: t for n, t in shared.items() if n not in instructions.transmission.absent_from_reply
        }
        prefixes = tuple(f"{rule.name}/" for rule in instructions.rules)
        odd = [name for name in extra if not name.startswith(prefixes)]
        require(
            not odd,
            f"{self.where}: sends {odd[:1]} beside the model, for none of its rules: see `extra`",
        )
        for client in range(self._count(strategy)):
            try:
                update = self.clients.train(
                    shared,
                    self.privates.get(client, {}),
                    client=client,
                    round=number,
                    instructions=instructions,
                    extra=extra,
                    count=EXAMPLES + client,
                )
            except ValueError as error:
                raise AssertionError(
                    f"{self.where}: a client cannot do what it asks in round {number}: {error}"
                ) from error
            self.privates[client] = update.private_state
            metrics: dict[str, object] = {
                "num-examples": update.example_count,
                "train-loss": update.stats.loss,
                CHANCE_LOSS: update.stats.chance_loss,
                STEPS: update.stats.steps,
                **update.metrics,
            }
            lacking = strategy.required_metrics - metrics.keys()
            require(
                not lacking, f"{self.where}: needs {sorted(lacking)[:1]}, which no client reports"
            )
            state = {name: update.state[name] for name in turn.awaited}
            summary = UpdateSummary(update.example_count, update.stats.loss, metrics, update.extra)
            turn.answers.append(_Answer(state, summary))
        return turn

    def _fold(self, strategy: FoldingStrategy, turn: _Round, answers: Sequence[_Answer]) -> State:
        given = _given(answers)
        fold = strategy.start_fold(turn.number, turn.awaited)
        try:
            with unchanged(given, self.where, "the models that it is given"):
                return merge(fold, [a.state for a in answers], [a.summary for a in answers])
        except (ValueError, KeyError) as error:
            raise AssertionError(
                f"{self.where}: cannot merge clients that did what it asked, in round "
                f"{turn.number}: {error}"
            ) from error

    def _play(self, strategy: FoldingStrategy, turn: _Round, folded: State) -> State:
        merged = {**turn.sent, **folded}
        step = ServerStep(turn.number, turn.sent, merged, strategy.server_examples)
        return clone(strategy.after_fold(step))

    def _check_merge(self, strategy: FoldingStrategy, turn: _Round) -> State:
        """Merge a round, and return the new global model."""
        with (
            unchanged(turn.sent, self.where, "the global model"),
            nothing_drawn(self.where),
        ):
            folded = self._fold(strategy, turn, turn.answers)
            after = self._play(strategy, turn, folded)
        given = [*_given(turn.answers).values(), *turn.sent.values()]
        for name, tensor in folded.items():
            require(
                not any(_shares(tensor, other) for other in given),
                f"{self.where}: its merged {name} shares memory with what it was given",
            )
        self._check_kind(turn.awaited, folded, "its merged model")
        self._check_kind(turn.sent, after, "what after_fold returns")
        broken = first_not_finite(after)
        require(broken is None, f"{self.where}: makes {broken} infinite or NaN")
        self._check_counters(turn, folded)
        return after

    def _check_kind(self, like: State, actual: State, what: str) -> None:
        odd = sorted(like.keys() ^ actual.keys())
        require(not odd, f"{self.where}: {what} has other tensors than the model: see {odd[:1]}")
        for name, tensor in like.items():
            kind, expected = (
                f"{t.dtype} {list(t.shape)}".removeprefix("torch.") for t in (actual[name], tensor)
            )
            require(kind == expected, f"{self.where}: {what} has {name} as {kind}, not {expected}")

    def _check_counters(self, turn: _Round, folded: State) -> None:
        for name, tensor in folded.items():
            if tensor.is_floating_point():
                continue
            all_of_it = torch.stack([answer.state[name] for answer in turn.answers])
            least, most = all_of_it.amin(0), all_of_it.amax(0)
            require(
                bool(((tensor >= least) & (tensor <= most)).all()),
                f"{self.where}: the counter {name} is outside of the clients': take the largest",
            )

    def _check_order(self, kept: State | None, turn: _Round) -> None:
        forth, back = self.made(kept), self.made(kept)
        merged = self._fold(forth, turn, turn.answers)
        other = self._fold(back, turn, turn.answers[::-1])
        for name, tensor in merged.items():
            require(
                close(tensor.double(), other[name].double()),
                f"{self.where}: merges otherwise where clients come in another order: see {name}",
            )

    def _check_sum(self, kept: State | None, turn: _Round) -> None:
        strategy = self.made(kept)
        if not is_sum(strategy, turn.number, turn.awaited):
            return
        by_fold = self._fold(strategy, turn, turn.answers)
        on_server = self.made(kept)
        total = add_up(
            contribution(self.made(), turn.number, turn.awaited, a.state, a.summary)
            for a in turn.answers
        )
        summed = finish(on_server, turn.number, turn.awaited, total)
        self._check_kind(by_fold, summed, "what its sum is finished to")
        for name, tensor in by_fold.items():
            # Counters are a mean there, since a largest one is no sum.
            require(
                not tensor.is_floating_point() or close(tensor, summed[name]),
                f"{self.where}: says that a round is a sum, and gives another {name} by it: see "
                "`sums` and `take_sums`",
            )
        one, other = self._kept(strategy) or {}, self._kept(on_server) or {}
        for name, tensor in one.items():
            require(
                name in other and close(tensor.double(), other[name].double()),
                f"{self.where}: keeps another {name} where a round is a sum: see `take_sums`",
            )

    def _check_memory(self, kept: State | None, turn: _Round) -> None:
        """Check that clients' models are let go, so that memory does not grow with the cohort."""
        strategy = self.made(kept)
        fold: Fold = strategy.start_fold(turn.number, turn.awaited)
        watched = [_Watched(answer.state) for answer in turn.answers]
        for each, answer in zip(watched, turn.answers, strict=True):
            fold.add(each.lend(), answer.summary)
        name = _held(watched)
        require(
            name is None or isinstance(fold, Collected),
            f"{self.where}: its fold holds clients' {name}, so that memory grows with the cohort; "
            "add it up, or subclass strategies.collected.Collected where all are needed at once",
        )
        fold.result()
        del fold
        name = _held(watched)
        require(
            name is None,
            f"{self.where}: holds clients' {name} after the round, and so the memory of a cohort",
        )

    def _check_resume(self, played: Sequence[_Round]) -> None:
        """Check that one that was resumed after each round goes on as if it were not."""
        uninterrupted, resumed = self.made(), self.made()
        for turn in played:
            for each in (uninterrupted, resumed):
                # As a round does, whatever comes of it.
                build_instructions(each, turn.number, turn.sent)
                each.extra(turn.number, turn.sent)
            merged = [
                self._play(each, turn, self._fold(each, turn, turn.answers))
                for each in (uninterrupted, resumed)
            ]
            require_same(
                merged[0],
                merged[1],
                f"{self.where}: merges otherwise after a resume, in round {turn.number}; what it "
                "keeps belongs into state_dict and load_state_dict",
            )
            resumed = self.made(self._kept(resumed))
            one, other = self._kept(uninterrupted) or {}, self._kept(resumed) or {}
            require_same(one, other, f"{self.where}: load_state_dict takes up something else")

    def _check_still(self, strategy: FoldingStrategy, turn: _Round) -> None:
        """Merge clients that return what they were sent."""
        still = [_Answer(turn.awaited, answer.summary) for answer in turn.answers]
        after = self._play(strategy, turn, self._fold(strategy, turn, still))
        self._check_kind(turn.sent, after, "where clients return the global model, what it makes")
        broken = first_not_finite(after)
        require(
            broken is None,
            f"{self.where}: makes {broken} infinite or NaN where clients return the global model",
        )


class _Watched:
    """A client's model, of which it can be told what is held by somebody else."""

    def __init__(self, state: Mapping[str, Tensor]):
        # A tensor of an array holds it for as long as any view of it is there.
        self._arrays = {name: tensor.clone().numpy() for name, tensor in state.items()}
        self._there = {name: weakref.ref(array) for name, array in self._arrays.items()}

    def lend(self) -> State:
        """Return the model, and keep nothing of it."""
        state = {name: torch.from_numpy(array) for name, array in self._arrays.items()}
        self._arrays.clear()
        return state

    def held(self) -> list[str]:
        """Return the names of the tensors whose memory is not free."""
        return [name for name, there in self._there.items() if there() is not None]


def _held(watched: Sequence[_Watched]) -> str | None:
    """Return the name of a tensor that somebody holds; None where there is none."""
    if any(each.held() for each in watched):
        # It may be garbage that refers to itself.
        gc.collect()
    return next((name for each in watched for name in each.held()), None)


def _given(answers: Sequence[_Answer]) -> State:
    """Return all tensors that clients sent."""
    return {
        f"{name} of client {place}": tensor
        for place, answer in enumerate(answers)
        for name, tensor in (*answer.state.items(), *answer.summary.extra.items())
    }


def _shares(one: Tensor, other: Tensor) -> bool:
    return (
        one.numel() > 0 and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
    )
