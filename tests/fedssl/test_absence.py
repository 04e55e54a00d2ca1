"""A client that is away for ten rounds: what it keeps, and what it starts anew."""

from collections.abc import Callable

import pytest
import torch

from fedssl.config import LearningConfig
from fedssl.model_state import State, clone, federated_state
from fedssl.objectives import OBJECTIVES
from fedssl.objectives.base import KeepingConfig
from fedssl.training.local_update import LocalTrainer, LocalUpdate
from tests.tools.local_updates import make_worker, random_examples
from tests.tools.tensors import same_state

KEEPING = [name for name, made in OBJECTIVES.items() if made.private]
RESYNCING = [name for name in KEEPING if issubclass(OBJECTIVES[name].Config, KeepingConfig)]


def setting(small: Callable[..., LearningConfig], name: str, *more: str) -> LearningConfig:
    return small(
        f"objective={{name: {name}}}",
        *more,
        "model.encoder=tests.tools.objectives.TinyEncoder",
        "model.projector=[8]",
        "rounds=20",
        "client.lr=0.02",
    )


def run(
    worker: LocalTrainer,
    received: State,
    *,
    client: int,
    server_round: int,
    private: State | None = None,
) -> LocalUpdate:
    labels = torch.arange(16) % 3
    shown = random_examples(16, client)
    return worker.run(
        shown, labels, received, private or {}, client=client, server_round=server_round
    )


def before_and_meanwhile(worker: LocalTrainer, received: State) -> tuple[State, State]:
    """Return what client 1 keeps of round 1, and the global model ten rounds later."""
    first = run(worker, received, client=1, server_round=1)
    later = run(worker, first.state, client=2, server_round=11)
    return clone(first.private_state), clone(later.state)


@pytest.mark.parametrize("name", KEEPING)
def test_what_a_client_keeps_is_all_it_needs_to_go_on(
    small: Callable[..., LearningConfig], name: str
) -> None:
    worker, received = make_worker(setting(small, name))
    private, model = before_and_meanwhile(worker, received)
    back = run(worker, model, client=1, server_round=12, private=private)
    elsewhere = run(
        make_worker(setting(small, name))[0], model, client=1, server_round=12, private=private
    )
    assert same_state(back.state, elsewhere.state)
    assert same_state(back.private_state, elsewhere.private_state)
    assert {n: t.shape for n, t in back.private_state.items()} == {
        n: t.shape for n, t in private.items()
    }
    as_new = run(worker, model, client=1, server_round=12)
    assert not same_state(back.private_state, as_new.private_state)


@pytest.mark.parametrize("name", RESYNCING)
def test_a_client_that_resyncs_goes_on_as_if_it_were_new(
    small: Callable[..., LearningConfig], name: str
) -> None:
    worker, received = make_worker(setting(small, name, "objective.on_return=resync"))
    private, model = before_and_meanwhile(worker, received)
    back = run(worker, model, client=1, server_round=12, private=private)
    as_new = run(worker, model, client=1, server_round=12)
    assert same_state(back.state, as_new.state)
    assert same_state(back.private_state, as_new.private_state)
    # One that was there in the round before keeps its own.
    next_round = run(worker, model, client=1, server_round=13, private=back.private_state)
    assert not same_state(
        next_round.private_state, run(worker, model, client=1, server_round=13).private_state
    )


def test_a_target_that_is_kept_is_far_from_the_model_and_one_that_is_resynced_is_not(
    small: Callable[..., LearningConfig],
) -> None:
    distances = []
    for on_return in ("keep", "resync"):
        experiment = setting(small, "byol", f"objective.on_return={on_return}")
        worker, received = make_worker(experiment)
        private, model = before_and_meanwhile(worker, received)
        back = run(worker, model, client=1, server_round=12, private=private)
        weight = "0.layers.0.weight"
        moved = back.private_state[f"target.{weight}"] - model[f"encoder.{weight[2:]}"]
        distances.append(moved.norm().item())
    assert distances[1] < 0.5 * distances[0]


def test_the_momentum_is_that_of_the_round_and_not_of_the_clients_steps(
    small: Callable[..., LearningConfig],
) -> None:
    worker, received = make_worker(setting(small, "byol", "objective.momentum=0.5"))
    first = run(worker, received, client=1, server_round=1)
    seen: list[float] = []
    worker.objective.after_step = seen.append  # type: ignore[method-assign, assignment]
    run(
        worker,
        federated_state(worker.objective),
        client=1,
        server_round=12,
        private=first.private_state,
    )
    assert seen == pytest.approx([(11 + 1 / 2) / 20, 12 / 20])
