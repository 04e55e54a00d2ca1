"""A run that is opened again, so that rounds of it can be made anew."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid

from fedssl.base.config_file import ConfigError
from fedssl.client_rules import ClientRound, ClientRuleConfig
from fedssl.evaluation.parallel import one_thread
from fedssl.model_state import clone, tensor_roles, trainable_names
from fedssl.training.optimizers import learning_rate
from simulations.comparing.arms import Arm, arms
from simulations.engines.client_states import get_client_states, set_client_states
from simulations.engines.engine import Engine
from simulations.progress.display import QuietDisplay
from simulations.record.checkpoint import Checkpoint
from simulations.record.client_result import ClientResult
from simulations.record.run_folder import RunFolder
from simulations.record.subfolders import make_inside
from simulations.record.tables import has_partition
from simulations.replaying.candidates import (
    Candidate,
    build_candidate,
    check_replies,
    fields_of,
    load,
    measuring_rules,
    notes_on,
)
from simulations.replaying.counterfactual_memory import kept_under
from simulations.replaying.grids import KeepingGrid, ReplayingGrid
from simulations.replaying.kept_round import Moment, moments
from simulations.running.open_engine import open_engine
from simulations.server.server import Server
from simulations.settings.experiment import Experiment
from simulations.setup.cohort import cohort_size
from simulations.setup.prepare import Prepared, prepare

Told = Callable[[int, int, str], None]
"""Told how many steps of a long work are done, of how many, and what the last one was."""


class Steps(QuietDisplay):
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

    def on_client_result(self, result: ClientResult) -> None:
        """Count a client's update; a reply that was kept is none."""
        if self.doing:
            self.did(self.doing)


@dataclass
class Opened:
    """A run, its examples, and the engine that its clients run in."""

    folder: RunFolder
    round: int
    """The round whose replies are merged, from 1."""
    prepared: Prepared
    engine: Engine
    own: Candidate
    """The run's own strategy, whether it is to merge or not."""
    candidates: Sequence[Candidate]
    measuring: tuple[ClientRuleConfig, ...]
    """The client rules, of all these strategies, that only measure."""
    steps: Steps

    def server(self, experiment: Experiment, grid: Grid) -> Server:
        """Return a server of its rounds."""
        prepared = self.prepared
        return Server(
            experiment,
            prepared.blueprint,
            prepared.splits,
            prepared.partition,
            self.engine,
            self.steps,
            grid=grid,
        )

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
        """Say where the round that was made again is not the run's, and what no merge shows."""
        made = moment.row
        rows = {row["round"]: row for row in self.folder.read_metrics()}
        known = rows.get(self.round, {})
        differ = [
            f"Round {self.round}, made again, has another {name} ({made[name]:.6g}) than the run "
            f"({known[name]:.6g}): another machine or version? This is about the one made again."
            for name in ("train_loss", "linear_accuracy")
            if None not in (known.get(name), made.get(name)) and known[name] != made[name]
        ]
        return differ + notes_on(self.own, self.candidates)

    def moment(self) -> Moment:
        """Return the round just before its merge, made again from the seed where it is not kept.

        Raises
        ------
        RunError
            A round of it failed.
        """
        replays = make_inside(replays_of(self.folder))
        moment = Moment(replays / f"round-{self.round}")
        if moment.is_whole() and moment.has(self.measuring):
            return moment
        moment.begin()
        replies: list[dict[str, object]] = []
        server, start = self._before(
            replays, lambda client, reply: replies.append(moment.add(client, reply))
        )
        self.steps.expect(self.updates_in(range(start, self.round + 1)))
        for number in range(start, self.round):
            self.steps.doing = f"round {number} again"
            server.train(number, server.draw_cohort(number))
        self.steps.doing = f"round {self.round} again"
        # A person's own strategy may write to its momentum in place.
        model, strategy = server.state(), clone(server.strategy_state())
        row, _ = server.run_round(self.round, server.draw_cohort(self.round))
        self.steps.doing = ""
        kept = get_client_states(self.engine)
        moment.finish(
            Checkpoint(self.round - 1, model, strategy, kept), replies, row, self.measuring
        )
        return moment

    def _before(self, replays: Path, keep: Callable[[int, Message], None]) -> tuple[Server, int]:
        """Return a server that is as far as possible, but not too far, and its next round."""
        earlier = [moment for moment in moments(replays) if moment.round < self.round]
        nearest = max(earlier, key=lambda moment: moment.round, default=None)
        start, found = 1, None
        if self.own.may_forget:
            # Only from the first round on does it have what it had.
            nearest = None
        elif found := self._stopped(nearest.round if nearest else 0):
            start, nearest = found.round + 1, None
        elif nearest:
            start, found = nearest.round + 1, nearest.before()
        grid = ReplayingGrid(self.engine, nearest)
        server = self.server(self.experiment, KeepingGrid(grid, self.round, keep, self.measuring))
        if found:
            server.restore(found.model, found.strategy)
        set_client_states(self.engine, found.clients if found else {})
        if nearest:
            server.train(nearest.round, nearest.cohort)
        return server, start

    def _stopped(self, first: int) -> Checkpoint | None:
        """Return the checkpoint of a run that was stopped from this round on, before ours."""
        folder = self.folder.checkpoint
        try:
            last = folder.round()
            return None if last is None or not first <= last < self.round else folder.load()
        except ValueError as error:
            raise ConfigError(f"{error}; remove it, and its rounds are made again") from error

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
            config = self.experiment.client
            states = kept_under(
                candidate.instructions,
                before,
                moment,
                {client for number in rounds for client in server.draw_cohort(number)},
                ClientRound(
                    server_round=moment.round,
                    round_start=before.model,
                    received_names=[
                        n
                        for n in before.model
                        if n not in candidate.instructions.transmission.local
                    ],
                    trainable_names=trainable_names(server.objective),
                    roles=tensor_roles(server.objective),
                    extra=candidate.extra,
                    momentum=config.momentum,
                    nesterov=config.nesterov,
                    lr=learning_rate(config, moment.round, self.experiment.rounds),
                    seed=self.experiment.seed,
                ),
            )
        set_client_states(self.engine, states)


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
    if not has_partition(folder.partition):
        raise ConfigError(
            f"{path}: its clients' examples are on devices, so no round of it can be made again "
            "here"
        )
    where = [f"engine.device={device}"] if device else []
    own = load(folder, where)
    if not 1 <= server_round <= own.rounds:
        raise ConfigError(f"--round {server_round}: the run has rounds 1 to {own.rounds}")
    chosen = [Arm(own.strategy.name)] if strategies is None else arms(strategies)
    prepared = prepare(own)
    runs = build_candidate(Arm(own.strategy.name), own, prepared, server_round)
    candidates = [
        build_candidate(arm, load(folder, [*fields_of(arm, own), *where]), prepared, server_round)
        for arm in chosen
    ]
    check_replies(runs, candidates)
    measuring = measuring_rules(runs, candidates)
    steps = Steps(told)
    with open_engine(prepared, folder, steps) as engine, one_thread():
        yield Opened(folder, server_round, prepared, engine, runs, candidates, measuring, steps)
