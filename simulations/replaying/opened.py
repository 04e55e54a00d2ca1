"""A run that is opened again, so that rounds of it can be made anew."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid

from fedssl.asked import Asked
from fedssl.config_file import ConfigError
from fedssl.evaluation.parallel import one_thread
from fedssl.local_update import build_objective
from fedssl.state import federated_state, model_parts
from simulations.checkpoint import Checkpoint
from simulations.client_states import give_to_clients, kept_by_clients
from simulations.cohort import Answer, cohort_size
from simulations.comparing.arms import Arm, arms
from simulations.display import Quiet
from simulations.engines import LocalConfig
from simulations.engines.opening import Engine, opened
from simulations.experiment import Experiment, load_experiment
from simulations.prepare import Prepared, check_cohort, prepare
from simulations.replaying.grids import KeepingGrid, ReplayingGrid
from simulations.replaying.moment import Moment, moments
from simulations.replaying.private import kept_under
from simulations.run_folder import RunFolder
from simulations.server import Server
from strategies import Stateful
from strategies import build as build_strategy
from strategies.base import asked_of

Told = Callable[[int, int, str], None]
"""Told how many steps of a long work are done, of how many, and what the last one was."""


class Steps(Quiet):
    """How far a long work is: client updates, merges and probes, each a step."""

    def __init__(self, told: Told):
        self._told = told
        self.done = self.total = 0
        self.doing = ""
        """What clients are trained for; empty where they are not."""

    def expect(self, steps: int) -> None:
        """Add to what there is to do."""
        self.total += steps

    def did(self, text: str) -> None:
        """Count a step."""
        self.done += 1
        self._told(self.done, self.total, text)

    def answered(self, answer: Answer) -> None:
        """Count a client's update; a reply that was kept is none."""
        if self.doing:
            self.did(self.doing)


@dataclass(frozen=True)
class Candidate:
    """A strategy that is to merge the replies."""

    label: str
    experiment: Experiment
    is_own: bool
    """Whether the run itself was made with it, so that what it had kept is known."""
    asked: Asked
    """What it asks of clients in the round."""
    keeps_state: bool
    """Whether it keeps something on the server from round to round."""


@dataclass
class Opened:
    """A run, its images, and the engine that its clients run in."""

    folder: RunFolder
    round: int
    """The round whose replies are merged, from 1."""
    prepared: Prepared
    engine: Engine
    candidates: Sequence[Candidate]
    steps: Steps

    def server(self, experiment: Experiment, grid: Grid) -> Server:
        """Return a server of its rounds."""
        prepared = self.prepared
        return Server(experiment, prepared.splits, prepared.partition, grid, self.steps)

    @property
    def experiment(self) -> Experiment:
        """The run's own."""
        return self.prepared.experiment

    def updates_in(self, rounds: range) -> int:
        """Return how many client updates some rounds have in all."""
        if self.experiment.only_client is not None:
            return len(rounds)
        clients = self.prepared.partition.clients
        return len(rounds) * cohort_size(clients, self.experiment.participation)

    def last_round(self, rounds: int) -> int:
        """Return the last of so many rounds after this one; a ConfigError says that it has none."""
        left = self.experiment.rounds - self.round
        if not 0 <= rounds <= left:
            raise ConfigError(
                f"--rounds {rounds}: after round {self.round} the run has {left} more; schedules, "
                "such as the learning rate's, end with its last"
            )
        return self.round + rounds

    def notes(self, moment: Moment) -> list[str]:
        """Say where the round that was made again is not the run's."""
        made = moment.row
        rows = {row["round"]: row for row in self.folder.read_metrics()}
        known = rows.get(self.round, {})
        return [
            f"Round {self.round}, made again, has another {name} ({made[name]:.6g}) than the run "
            f"({known[name]:.6g}): another machine or version? This is about the one made again."
            for name in ("train_loss", "linear_accuracy")
            if known.get(name) is not None and known[name] != made.get(name)
        ]

    def moment(self) -> Moment:
        """Return the round just before its merge, made again from the seed where it is not kept.

        Raises
        ------
        RunError
            A round of it failed.
        """
        replays = replays_of(self.folder)
        moment = Moment(replays / f"round-{self.round}")
        decay = next(
            (c.asked.sensitivity_decay for c in self.candidates if c.asked.sensitivity_decay), None
        )
        if moment.is_whole() and decay in (None, moment.decay):
            return moment
        moment.begin()
        replies: list[dict[str, object]] = []
        server, start = self._before(
            replays, lambda client, reply: replies.append(moment.add(client, reply)), decay
        )
        self.steps.expect(self.updates_in(range(start, self.round + 1)))
        for number in range(start, self.round):
            self.steps.doing = f"round {number} again"
            server.train(number, server.draw_cohort(number))
        self.steps.doing = f"round {self.round} again"
        model, strategy = server.state(), server.strategy_state()
        row, _ = server.round(self.round, server.draw_cohort(self.round))
        self.steps.doing = ""
        kept = kept_by_clients(self.engine)
        moment.finish(Checkpoint(self.round - 1, model, strategy, kept), replies, row, decay)
        return moment

    def _before(
        self, replays: Path, keep: Callable[[int, Message], None], decay: float | None
    ) -> tuple[Server, int]:
        """Return a server that is as far as possible, but not too far, and its next round."""
        earlier = [moment for moment in moments(replays) if moment.round < self.round]
        nearest = max(earlier, key=lambda moment: moment.round, default=None)
        found = self.folder.checkpoint.load()
        if found and found.round < self.round and not (nearest and nearest.round > found.round):
            start, nearest = found.round + 1, None
        elif nearest:
            start, found = nearest.round + 1, nearest.before()
        else:
            start, found = 1, None
        grid = ReplayingGrid(self.engine, nearest)
        server = self.server(self.experiment, KeepingGrid(grid, self.round, keep, decay))
        if found:
            server.restore(found.model, found.strategy)
        give_to_clients(self.engine, found.clients if found else {})
        if nearest:
            server.train(nearest.round, nearest.cohort)
        return server, start

    def ready(self, candidate: Candidate, moment: Moment) -> Server:
        """Return a candidate's server as it is before it merges the moment's replies."""
        before = moment.before()
        server = self.server(candidate.experiment, ReplayingGrid(self.engine, moment))
        own = candidate.is_own
        server.restore(before.model, before.strategy if own else server.strategy_state())
        return server

    def go_on(self, candidate: Candidate, moment: Moment, server: Server, last: int) -> None:
        """Let clients keep what they would of the moment under a candidate, up to a round."""
        before = moment.before()
        states = before.clients
        if not candidate.is_own:
            rounds = range(moment.round + 1, last + 1)
            named = server.objective.named_parameters()
            states = kept_under(
                candidate.asked,
                before,
                moment.models(),
                {client for number in rounds for client in server.draw_cohort(number)},
                {name for name, parameter in named if parameter.requires_grad},
            )
        give_to_clients(self.engine, states)


def replays_of(folder: RunFolder) -> Path:
    """Return the folder of a run in which its replayed rounds lie."""
    return folder.path / "replays"


@contextmanager
def open_run(
    path: Path, server_round: int, strategies: str | None, device: str | None, told: Told
) -> Iterator[Opened]:
    """Open a run for a round of it to be merged again.

    Parameters
    ----------
    path : Path
        The run's folder.
    server_round : int
        From 1.
    strategies : str | None
        Such as ``fedavg,ldawa(warmup_rounds=0)``; None for the run's own.
    device : str | None
        Such as ``cpu``; None for the run's.
    told : Told
        Told how far the work is.

    Raises
    ------
    ConfigError
        It cannot be; nothing was done yet.
    """
    folder = RunFolder(path)
    if not folder.config.is_file() or not folder.read_metrics():
        raise ConfigError(
            f"{path}: holds no run with a finished round; give the folder that `fedssl run` wrote"
        )
    if len(folder.partition.read_text(encoding="utf-8").splitlines()) < 2:
        raise ConfigError(
            f"{path}: its clients' images are on devices, so no round of it can be made again here"
        )
    where = [f"engine.device={device}"] if device else []
    own = _load(folder, where)
    if not 1 <= server_round <= own.rounds:
        raise ConfigError(f"--round {server_round}: the run has rounds 1 to {own.rounds}")
    chosen = arms(strategies) if strategies else [Arm(own.strategy.name)]
    prepared = prepare(own)
    own = prepared.experiment
    candidates = [
        _candidate(arm, _load(folder, [*_fields(arm, own), *where]), prepared, server_round)
        for arm in chosen
    ]
    decays = {c.asked.sensitivity_decay for c in candidates} - {None}
    if len(decays) > 1:
        raise ConfigError(
            f"--strategies {strategies}: ask for sensitivities of different decay, and the replies "
            "have one; leave one of them out"
        )
    steps = Steps(told)
    with opened(prepared, folder, steps) as engine, one_thread():
        yield Opened(folder, server_round, prepared, engine, candidates, steps)


def _fields(arm: Arm, own: Experiment) -> list[str]:
    """Return what of the config makes a strategy: only the run's own has its fields from there."""
    is_own = arm.overrides[:1] in ((), (f"strategy.name={own.strategy.name}",))
    return [*([] if is_own else ["strategy={}"]), *arm.overrides]


def _load(folder: RunFolder, overrides: Sequence[str]) -> Experiment:
    """Read the run's config, to work in this process and to measure every round in the same way."""
    experiment = load_experiment(folder.config, overrides)
    engine = LocalConfig(device=experiment.engine.device)
    always = experiment.evaluation.model_copy(update={"every": 1, "measures": ()})
    return experiment.model_copy(update={"engine": engine, "evaluation": always})


def _candidate(
    arm: Arm, experiment: Experiment, prepared: Prepared, server_round: int
) -> Candidate:
    own = prepared.experiment
    objective = build_objective(own, prepared.splits.train.images.shape[-1])
    try:
        strategy = build_strategy(experiment.strategy, model_parts(objective))
    # Classes of a person's own are among them.
    except Exception as error:
        raise ConfigError(f"--strategies {arm.label}: {error}") from error
    check_cohort(experiment, prepared.partition.clients, strategy)
    return Candidate(
        arm.label,
        own.model_copy(update={"strategy": experiment.strategy}),
        experiment.strategy == own.strategy,
        asked_of(strategy, server_round, federated_state(objective)),
        isinstance(strategy, Stateful),
    )
