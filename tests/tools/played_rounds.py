"""A round among six clients, some of which are faulty."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fedssl.model_state import State, clone, tensor_roles
from simulations import Experiment
from simulations.engines.local import LocalGrid
from simulations.progress.display import QuietDisplay
from simulations.record.client_result import ClientResult
from simulations.server.server import Server
from simulations.setup.prepare import prepare
from strategies.messages import arrays_of, to_state
from tests.tools.faulty_clients import (
    Fault,
    FaultyApp,
)
from tests.tools.strategy_fields import STRATEGY_FIELDS

Small = Callable[..., Experiment]

COHORT = [0, 1, 2, 3, 4, 5]
FAULTY = 2
ROUND = 9
"""After any warm-up."""

FIELDS = STRATEGY_FIELDS | {
    "flwr.serverapp.strategy.FedTrimmedAvg": ", beta: 0.2",
    "flwr.serverapp.strategy.FedAvgM": ", server_momentum: 0.5",
}

FLOWERS = [f"flwr.serverapp.strategy.{name}" for name in ("FedAvg", "FedMedian", "FedTrimmedAvg")]

FLOWERS_MOMENTUM = "flwr.serverapp.strategy.FedAvgM"

SOME = ["ldawa", "elastic", FLOWERS[0]]


class Heard(QuietDisplay):
    def __init__(self) -> None:
        self.said_texts: list[str] = []

    def on_message(self, text: str) -> None:
        self.said_texts.append(text)


@dataclass
class Scene:
    server: Server
    grid: LocalGrid
    app: FaultyApp
    display: Heard
    model: State
    kept: State

    def play(self, faults: dict[int, Fault], cohort: list[int] = COHORT) -> list[ClientResult]:
        """Run the same round from the same state, in which some clients are faulty."""
        self.server.restore(self.model, clone(self.kept))
        self.grid.states = {}
        self.app.faults, self.app.asked = faults, []
        return self.server.train(ROUND, cohort)

    def visits(self) -> dict[int, float]:
        """Return how often each client has trained, by what it keeps."""
        states = {c: to_state(arrays_of(s, "private")) for c, s in self.grid.states.items()}
        return {client: state["visits"].item() for client, state in states.items()}


@contextmanager
def scene(small: Small, strategy: str, *overrides: str, crossing: bool = False) -> Iterator[Scene]:
    fields = f"strategy={{name: {strategy}{FIELDS.get(strategy, '')}}}"
    prepared = prepare(
        small(
            *("partition.clients=6", "participation=1", "model.projector=[4, 3]", fields),
            *("objective.predictor_width=4", f"model.encoder={FaultyApp.__module__}.Tiny"),
            *overrides,
        )
    )
    display = Heard()
    app = FaultyApp({}, tensor_roles(torch.nn.Module()), crossing)
    grid = LocalGrid(app, 6, workers=2)
    server = Server(
        prepared.experiment, prepared.blueprint, prepared.splits, prepared.partition, grid, display
    )
    app.parts = tensor_roles(server.objective)
    try:
        yield Scene(
            server, grid, app, display, clone(server.state()), clone(server.strategy_state())
        )
    finally:
        grid.close()


def usable(state: State) -> bool:
    finite = all(t.isfinite().all() for t in state.values())
    return finite and all((t >= 0).all() for n, t in state.items() if n.endswith("running_var"))


def failed(answers: list[ClientResult]) -> dict[int, str]:
    return {answer.client: answer.error for answer in answers if answer.error is not None}
