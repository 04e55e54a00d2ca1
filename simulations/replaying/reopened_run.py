"""A finished run, reopened so that one of its rounds can be merged again."""

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
    load,
    metric_rules_of,
    notes_on,
    overrides_of,
)
from simulations.replaying.counterfactual_memory import private_states_under
from simulations.replaying.grids import RecordingGrid, ReplayingGrid
from simulations.replaying.kept_round import KeptRound, kept_rounds
from simulations.running.open_engine import open_engine
from simulations.server.server import Server
from simulations.settings.experiment import Experiment
from simulations.setup.cohort import cohort_size
from simulations.setup.prepare import Prepared, prepare

OnProgress = Callable[[int, int, str], None]
"""Called with the number of finished steps, the number of all steps, and the last one's name."""


class ReplayProgress(QuietDisplay):
    """Counts the finished client updates, merges and probes of a replay or audit."""

    def __init__(self, on_progress: OnProgress):
        self._on_progress = on_progress
        self.done = self.total = 0
        self.doing = ""
        """What clients are trained for now; empty while none is trained."""

    def expect(self, steps: int) -> None:
        """Add to the number of all steps."""
        self.total += steps

    def count(self, text: str) -> None:
        """Count one finished step."""
        self.done += 1
        self._on_progress(self.done, self.total, text)

    def on_client_result(self, result: ClientResult) -> None:
        """Count a client's update; a recorded reply is not one."""
        if self.doing:
            self.count(self.doing)


@dataclass
class ReopenedRun:
    """A run, its examples, and the engine that its clients run on."""

    folder: RunFolder
    round: int
    """The round whose replies are merged, from 1."""
    prepared: Prepared
    engine: Engine
    own: Candidate
    """The run's own strategy, whether or not it is among the candidates."""
    candidates: Sequence[Candidate]
    metric_rules: tuple[ClientRuleConfig, ...]
    """The client rules of all these strategies that only measure."""
    progress: ReplayProgress

    def server(self, experiment: Experiment, grid: Grid) -> Server:
        """Return a server that runs this run's rounds with an experiment's strategy."""
        prepared = self.prepared
        return Server(
            experiment,
            prepared.blueprint,
            prepared.splits,
            prepared.partition,
            self.engine,
            self.progress,
            grid=grid,
        )

    @property
    def experiment(self) -> Experiment:
        """The run's own experiment."""
        return self.prepared.experiment

    def updates_in(self, rounds: range) -> int:
        """Return the number of client updates in these rounds."""
        if self.experiment.only_client is not None:
            return len(rounds)
        clients = self.prepared.partition.clients
        return len(rounds) * cohort_size(clients, self.experiment.participation)

    def last_round(self, rounds: int) -> int:
        """Return the last of so many further rounds; raise a ConfigError if there are fewer."""
        remaining = self.experiment.rounds - self.round
        if not 0 <= rounds <= remaining:
            raise ConfigError(
                f"--rounds {rounds}: after round {self.round} the run has {remaining} more; "
                "schedules, such as the learning rate's, end with the last round"
            )
        return self.round + rounds

    def notes(self, kept_round: KeptRound) -> list[str]:
        """Return notes on how the recorded round differs from the run's, and on the strategies."""
        recorded = kept_round.row
        rows = {row["round"]: row for row in self.folder.read_metrics()}
        original = rows.get(self.round, {})
        differences = [
            f"Round {self.round}, run again, has another {name} ({recorded[name]:.6g}) than in the "
            f"run ({original[name]:.6g}); perhaps the machine or a version differs. All results "
            "here are of the round that was run again."
            for name in ("train_loss", "linear_accuracy")
            if None not in (original.get(name), recorded.get(name))
            and original[name] != recorded[name]
        ]
        return differences + notes_on(self.own, self.candidates)

    def kept_round(self) -> KeptRound:
        """Return the round as it was before its merge; run it again if it is not kept on disk.

        Raises
        ------
        RunError
            A round that was run again failed.
        """
        replays = make_inside(replays_of(self.folder))
        kept_round = KeptRound(replays / f"round-{self.round}")
        if kept_round.is_complete() and kept_round.has_metrics_of(self.metric_rules):
            return kept_round
        kept_round.begin()
        replies: list[dict[str, object]] = []
        server, start = self._recording_server(
            replays, lambda client, reply: replies.append(kept_round.add(client, reply))
        )
        self.progress.expect(self.updates_in(range(start, self.round + 1)))
        for number in range(start, self.round):
            self.progress.doing = f"round {number} again"
            server.train(number, server.draw_cohort(number))
        self.progress.doing = f"round {self.round} again"
        # A user's own strategy may write to its momentum in place.
        model, strategy = server.state(), clone(server.strategy_state())
        row, _ = server.run_round(self.round, server.draw_cohort(self.round))
        self.progress.doing = ""
        states = get_client_states(self.engine)
        kept_round.finish(
            Checkpoint(self.round - 1, model, strategy, states), replies, row, self.metric_rules
        )
        return kept_round

    def _recording_server(
        self, replays: Path, record: Callable[[int, Message], None]
    ) -> tuple[Server, int]:
        """Return a server in the latest known state before this round, and its next round."""
        earlier = [each for each in kept_rounds(replays) if each.round < self.round]
        nearest = max(earlier, key=lambda each: each.round, default=None)
        start, checkpoint = 1, None
        if self.own.may_lose_state:
            # No checkpoint has the strategy's state, so all rounds are run again.
            nearest = None
        elif checkpoint := self._stopped_checkpoint(nearest.round if nearest else 0):
            start, nearest = checkpoint.round + 1, None
        elif nearest:
            start, checkpoint = nearest.round + 1, nearest.checkpoint()
        grid = ReplayingGrid(self.engine, nearest)
        recording = RecordingGrid(grid, self.round, record, self.metric_rules)
        server = self.server(self.experiment, recording)
        if checkpoint:
            server.restore(checkpoint.model, checkpoint.strategy)
        set_client_states(self.engine, checkpoint.clients if checkpoint else {})
        if nearest:
            server.train(nearest.round, nearest.cohort)
        return server, start

    def _stopped_checkpoint(self, first: int) -> Checkpoint | None:
        """Return the run's checkpoint if the run stopped from this round on, before ours."""
        folder = self.folder.checkpoint
        try:
            last = folder.round()
            return None if last is None or not first <= last < self.round else folder.load()
        except ValueError as error:
            raise ConfigError(f"{error}; remove it, and its rounds are run again") from error

    def server_before_merge(self, candidate: Candidate, kept_round: KeptRound) -> Server:
        """Return a candidate's server in the state before it merges the kept round's replies."""
        before = kept_round.checkpoint()
        server = self.server(candidate.experiment, ReplayingGrid(self.engine, kept_round))
        strategy = before.strategy if candidate.is_own else server.strategy_state()
        server.restore(before.model, strategy)
        return server

    def set_client_states(
        self, candidate: Candidate, kept_round: KeptRound, server: Server, last: int
    ) -> None:
        """Give the clients the private state that the kept round leaves under a candidate.

        Only clients that take part in the rounds up to ``last`` get one.
        """
        before = kept_round.checkpoint()
        states = before.clients
        if not candidate.is_own:
            rounds = range(kept_round.round + 1, last + 1)
            config, local = self.experiment.client, candidate.instructions.transmission.local
            states = private_states_under(
                candidate.instructions,
                before,
                kept_round,
                {client for number in rounds for client in server.draw_cohort(number)},
                ClientRound(
                    server_round=kept_round.round,
                    round_start=before.model,
                    received_names=[n for n in before.model if n not in local],
                    trainable_names=trainable_names(server.objective),
                    roles=tensor_roles(server.objective),
                    extra=candidate.extra,
                    momentum=config.momentum,
                    nesterov=config.nesterov,
                    lr=learning_rate(config, kept_round.round, self.experiment.rounds),
                    seed=self.experiment.seed,
                ),
            )
        set_client_states(self.engine, states)


def replays_of(folder: RunFolder) -> Path:
    """Return the folder of a run that holds its replayed rounds."""
    return folder.path / "replays"


@contextmanager
def open_run(
    path: Path,
    server_round: int,
    strategies: str | None,
    device: str | None,
    on_progress: OnProgress,
) -> Iterator[ReopenedRun]:
    """Reopen a run, so that one of its rounds can be merged again.

    Parameters
    ----------
    path : Path
        The run's folder.
    server_round : int
        The round, from 1.
    strategies : str | None
        The strategies, such as ``fedavg,ldawa(warmup_rounds=0)``; None for the run's own.
    device : str | None
        The device, such as ``cpu``; None for the run's.
    on_progress : OnProgress
        Called after each step.

    Raises
    ------
    ConfigError
        The run has no such round or cannot be run here, or a strategy does not fit it; nothing was
        done.
    """
    folder = RunFolder(path)
    if not folder.config.is_file() or not folder.read_metrics():
        raise ConfigError(
            f"{path}: holds no run with a finished round; give the folder that `fedssl run` wrote"
        )
    if not has_partition(folder.partition):
        raise ConfigError(
            f"{path}: its clients' examples are on devices, so none of its rounds can be run again "
            "here"
        )
    overrides = [f"engine.device={device}"] if device else []
    experiment = load(folder, overrides)
    if not 1 <= server_round <= experiment.rounds:
        raise ConfigError(f"--round {server_round}: the run has rounds 1 to {experiment.rounds}")
    own_arm = Arm(experiment.strategy.name)
    prepared = prepare(experiment)
    own = build_candidate(own_arm, experiment, prepared, server_round)
    candidates = [
        build_candidate(
            arm,
            load(folder, [*overrides_of(arm, experiment), *overrides]),
            prepared,
            server_round,
        )
        for arm in ([own_arm] if strategies is None else arms(strategies))
    ]
    check_replies(own, candidates)
    metric_rules = metric_rules_of(own, candidates)
    progress = ReplayProgress(on_progress)
    with open_engine(prepared, folder, progress) as engine, one_thread():
        yield ReopenedRun(
            folder, server_round, prepared, engine, own, candidates, metric_rules, progress
        )
