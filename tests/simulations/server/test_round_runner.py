"""One client does not end a round, or spoil it, whatever it answers and whatever merges."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch

from fedssl.model_state import State, clone, tensor_roles
from simulations import Experiment, RunError
from simulations.engines.local import LocalGrid
from simulations.progress.display import QuietDisplay
from simulations.record.client_result import ClientResult
from simulations.server.server import Server
from simulations.setup.prepare import prepare
from strategies import STRATEGIES
from strategies.messages import arrays_of, to_state
from tests.tools import custom_strategies
from tests.tools.faulty_clients import (
    FAULTS,
    FAULTS_BESIDE,
    OF_BATCHNORM,
    SPOILERS,
    Fault,
    FaultyApp,
    beside,
    raises,
)
from tests.tools.strategy_fields import STRATEGY_FIELDS
from tests.tools.tensors import same_state

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


def check_every_fault(small: Small, strategy: str, crossing: bool) -> None:
    with scene(small, strategy, crossing=crossing) as played:
        played.play({FAULTY: raises(ValueError("not here"))})
        without = clone(played.server.state())
        assert not same_state(without, played.model)
        for name, fault in FAULTS.items():
            if strategy == "fedbn" and name in OF_BATCHNORM:
                # These tensors stay on the client.
                continue
            answers = played.play({FAULTY: fault})
            assert [answer.client for answer in answers] == COHORT, name
            reasons = failed(answers)
            assert list(reasons) == [FAULTY], (name, reasons)
            assert len(reasons[FAULTY]) <= 300, name
            assert reasons[FAULTY].isprintable(), name
            assert same_state(played.server.state(), without), name
            assert played.visits() == dict.fromkeys((0, 1, 3, 4, 5), 1.0), name
            # A refused client is not asked again in the round.
            assert played.app.asked.count(FAULTY) == 1, name
        for name, fault in SPOILERS.items():
            reasons = failed(played.play({FAULTY: fault}))
            assert usable(played.server.state()), name
            assert set(reasons) <= {FAULTY}, name
            if reasons:
                assert same_state(played.server.state(), without), name
                assert "largest" in reasons[FAULTY], (name, reasons)
                assert played.visits() == dict.fromkeys((0, 1, 3, 4, 5), 1.0), name


@pytest.mark.parametrize("strategy", SOME)
def test_a_faulty_client_fails_alone(small: Small, strategy: str) -> None:
    check_every_fault(small, strategy, crossing=False)


def test_a_faulty_device_fails_alone(small: Small) -> None:
    check_every_fault(small, "ldawa", crossing=True)


@pytest.mark.parametrize("crossing", [False, True])
def test_a_client_that_sends_other_tensors_beside_the_model_fails_alone(
    small: Small, crossing: bool
) -> None:
    strategy = f"{custom_strategies.__name__}.Sending"
    custom_strategies.HEARD.clear()
    with scene(small, strategy, crossing=crossing) as played:
        assert not failed(played.play({}))
        assert custom_strategies.HEARD == [6]
        played.play({FAULTY: raises(ValueError("not here"))})
        without = clone(played.server.state())
        assert custom_strategies.HEARD == [6, 5]
        reasons: dict[str, str] = {}
        for name, fault in FAULTS_BESIDE.items():
            found = failed(played.play({FAULTY: fault}))
            assert list(found) == [FAULTY], (name, found)
            assert found[FAULTY].isprintable(), name
            assert len(found[FAULTY]) <= 300, name
            assert same_state(played.server.state(), without), name
            assert custom_strategies.HEARD[-1] == 5, name
            assert played.visits() == dict.fromkeys((0, 1, 3, 4, 5), 1.0), name
            reasons[name] = found[FAULTY]
    first = "scaffold/encoder.layers.0.weight"
    for name, reason in {
        "one too many": "its extra has an unexpected tensor scaffold/example",
        "another rule's": "its extra has an unexpected tensor fedx/0.bias",
        "one missing": f"its extra lacks the tensor {first}",
        "all missing": f"its extra lacks the tensor {first}",
        "another shape": f"its tensor {first} has the shape (1, 3, 3, 3) in place of (4, 3, 3, 3)",
        "NaN": f"its tensor {first} is infinite or NaN",
        "float64": f"its tensor {first} is float64 in place of float32",
        "metrics in its place": "it has no ArrayRecord 'extra'",
    }.items():
        assert reason in reasons[name]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [*STRATEGIES, *FLOWERS])
def test_a_faulty_device_fails_alone_under_every_strategy(small: Small, strategy: str) -> None:
    check_every_fault(small, strategy, crossing=True)


def test_the_reason_says_what_is_wrong(small: Small) -> None:
    with scene(small, "fedavg", crossing=True) as played:
        reasons = {
            name: failed(played.play({FAULTY: FAULTS[name]}))[FAULTY]
            for name in (
                "weights NaN",
                "examples 10^18",
                "a header that claims objects",
                "no metrics",
                "400 MB",
            )
        }
    assert (
        "encoder.layers.0.weight is infinite or NaN: try a lower client.lr"
        in (reasons["weights NaN"])
    )
    assert "num-examples is 1000000000000000000: must be from 1 to 8" in reasons["examples 10^18"]
    assert "it holds object, which are no numbers" in reasons["a header that claims objects"]
    assert "it has no MetricRecord 'metrics'" in reasons["no metrics"]
    assert "has 400000000 bytes in place of 432 and a header" in reasons["400 MB"]


def test_the_client_with_the_longest_update_is_left_out_of_a_mean_that_it_spoils(
    small: Small,
) -> None:
    with scene(small, "fedavg") as played:
        played.play({FAULTY: raises(ValueError("not here")), 4: raises(ValueError("nor here"))})
        without = clone(played.server.state())
        answers = played.play({FAULTY: SPOILERS["weights 1e30"], 4: SPOILERS["weights 1e30"]})
        assert same_state(played.server.state(), without)
        assert list(failed(answers)) == [FAULTY, 4]
        assert "so large that its square is infinite" in failed(answers)[FAULTY]
        assert played.visits() == dict.fromkeys((0, 1, 3, 5), 1.0)
        assert len(played.display.said_texts) == 2


def test_what_one_client_sends_beside_the_model_does_not_spoil_the_next_round(
    small: Small,
) -> None:
    with scene(small, "scaffold") as played:
        played.play({FAULTY: raises(ValueError("not here"))})
        without = clone(played.server.state())
        kept = clone(played.server.strategy_state())
    with scene(small, "scaffold") as played:
        answers = played.play({FAULTY: beside(lambda tensor: tensor * 0 + 1e30)})
        assert list(failed(answers)) == [FAULTY]
        assert "beside it, " in failed(answers)[FAULTY]
        assert same_state(played.server.state(), without)
        assert same_state(played.server.strategy_state(), kept)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_round_that_is_run_again_leaves_no_trace_in_flowers_own_momentum(small: Small) -> None:
    states = []
    for fault in (raises(ValueError("not here")), SPOILERS["weights 1e30"]):
        with scene(small, FLOWERS_MOMENTUM) as played:
            played.play({})
            played.server.train(ROUND + 1, COHORT)
            played.app.faults = {FAULTY: fault}
            assert list(failed(played.server.train(ROUND + 2, COHORT))) == [FAULTY]
            played.app.faults = {}
            played.server.train(ROUND + 3, COHORT)
            states.append(clone(played.server.state()))
    assert same_state(*states)


def test_where_all_updates_are_alike_no_client_is_blamed_for_a_bad_merge(small: Small) -> None:
    with scene(small, "fedavg") as played:
        everybody = dict.fromkeys(COHORT, SPOILERS["weights 1e30"])
        with pytest.raises(RunError, match=r"no single client is responsible.*client\.clip_norm"):
            played.play(everybody)
        assert same_state(played.server.state(), played.model)
        assert played.visits() == {}


def test_a_round_in_which_all_fail_changes_nothing(small: Small) -> None:
    with scene(small, "fedadam") as played:
        with pytest.raises(RunError, match="every client failed; client 0: its reply was refused"):
            played.play(dict.fromkeys(COHORT, FAULTS["weights NaN"]))
        assert same_state(played.server.state(), played.model)
        assert same_state(played.server.strategy_state(), played.kept)
        assert played.visits() == {}


def test_fewer_than_a_strategy_needs_end_the_run_in_one_sentence(small: Small) -> None:
    fields = "strategy={name: krum, byzantine: 1}"
    with scene(small, "krum", fields) as played:
        nan = FAULTS["weights NaN"]
        assert list(failed(played.play({2: nan}))) == [2]
        with pytest.raises(RunError) as raised:
            played.play({1: nan, 2: nan})
        assert str(raised.value).startswith(
            "round 9: 4 of 6 clients succeeded, but the strategy krum needs 5; client 1: its reply"
        )
        assert "\n" not in str(raised.value)


def test_an_update_beyond_the_limit_is_shortened_to_it(small: Small) -> None:
    limit = "strategy={name: fedavg, max_update_norm: 0.5}"
    with scene(small, "fedavg", limit) as played:
        answers = played.play({FAULTY: SPOILERS["weights 1e30"]}, [FAULTY])
        assert [answer.clipped for answer in answers] == [True]
        before, now = played.model, played.server.state()
        floats = [n for n, t in now.items() if t.is_floating_point()]
        square = sum(float((now[n] - before[n]).double().square().sum()) for n in floats)
        assert math.sqrt(square) == pytest.approx(0.5, rel=1e-4)
        answers = played.play({FAULTY: SPOILERS["weights 1e30"]})
        assert [a.client for a in answers if a.clipped] == [FAULTY]
        assert not failed(answers)


def test_an_update_beyond_the_limit_may_be_refused(small: Small) -> None:
    limit = "strategy={name: fedavg, max_update_norm: 0.5, on_exceed: refuse}"
    with scene(small, "fedavg", limit) as played:
        played.play({FAULTY: raises(ValueError("not here"))})
        without = clone(played.server.state())
        reasons = failed(played.play({FAULTY: SPOILERS["weights 1e30"]}))
        assert "more than strategy.max_update_norm = 0.5" in reasons[FAULTY]
        assert same_state(played.server.state(), without)
