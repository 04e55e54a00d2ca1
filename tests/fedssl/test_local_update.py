import threading
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from fedssl.local_update import LocalUpdate, Stopped, Worker, build_objective
from fedssl.objectives import Batch, Objective, ObjectiveConfig
from fedssl.objectives.simclr import nt_xent
from fedssl.state import State, clone, federated_state, private_state
from simulations.experiment import Experiment

Small = Callable[..., Experiment]


def make(experiment: Experiment) -> tuple[Worker, State]:
    worker = Worker(experiment, 16, torch.device("cpu"), threading.Event())
    return worker, clone(federated_state(build_objective(experiment, 16)))


def images(count: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 16, 16), generator=draws, dtype=torch.uint8)


def run(
    worker: Worker,
    received: State,
    count: int = 20,
    private: State | None = None,
    client: int = 0,
    round: int = 1,
) -> LocalUpdate:
    labels = torch.full((count,), -1)
    return worker.run(
        images(count, client), labels, received, private or {}, client=client, round=round
    )


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lars"])
@pytest.mark.parametrize("kept", ["fresh", "kept"])
def test_a_worker_leaves_nothing_of_a_client_to_the_next(
    small: Small, optimizer: str, kept: str
) -> None:
    experiment = small(f"client.optimizer={optimizer}", f"client.optimizer_state={kept}")
    worker, received = make(experiment)
    alone = run(worker, received, client=1)
    run(worker, received, client=2)
    again = run(worker, received, client=1)
    fresh = run(make(experiment)[0], received, client=1)
    assert same(alone.state, again.state)
    assert same(alone.private, again.private)
    assert same(alone.state, fresh.state)


def test_the_received_model_is_never_written_to(small: Small) -> None:
    worker, received = make(small())
    before = clone(received)
    update = run(worker, received)
    assert same(before, received)
    assert not same(before, update.state)
    later = clone(update.state)
    run(worker, received, client=3)
    assert same(later, update.state)


def test_every_client_and_round_draws_its_own_numbers(small: Small) -> None:
    worker, received = make(small())
    shown = images(20)
    labels = torch.full((20,), -1)
    results = [
        worker.run(shown, labels, received, {}, client=c, round=r).state
        for c, r in [(0, 1), (1, 1), (0, 2)]
    ]
    assert not same(results[0], results[1])
    assert not same(results[0], results[2])


def test_byols_target_goes_on_from_the_clients_own_last_round(small: Small) -> None:
    worker, received = make(small())
    first = run(worker, received)
    assert first.private
    assert not set(first.private) & set(first.state)
    second = run(worker, first.state, private=first.private, round=2)
    from_nothing = run(worker, first.state, round=2)
    assert not same(second.private, from_nothing.private)
    assert not same(second.state, from_nothing.state)


@pytest.mark.parametrize("round", [2, 12])
@pytest.mark.parametrize("on_return", ["keep", "resync"])
def test_after_an_absence_the_private_state_is_kept_or_started_anew(
    small: Small, on_return: str, round: int
) -> None:
    experiment = small(
        f"objective.on_return={on_return}", "rounds=20", "client.optimizer_state=kept"
    )
    worker, received = make(experiment)
    first = run(worker, received)
    later = {n: t * 1.1 if t.is_floating_point() else t for n, t in first.state.items()}
    came_back = run(worker, later, private=first.private, round=round)
    optimizer = {n: t for n, t in first.private.items() if n.startswith("optimizer ")}
    as_if_new = run(worker, later, private=optimizer, round=round)
    resynced = on_return == "resync" and round == 12
    assert same(came_back.state, as_if_new.state) is resynced
    assert same(came_back.private, as_if_new.private) is resynced
    again = run(worker, later, private=came_back.private, round=round + 1)
    assert not same(again.private, came_back.private)


def test_the_optimizer_is_kept_on_request(small: Small) -> None:
    worker, received = make(small("client.optimizer_state=kept", "objective.name=simclr"))
    first = run(worker, received)
    assert first.private
    assert not private_state(worker.objective)
    kept = run(worker, first.state, private=first.private, round=2)
    new = run(worker, first.state, round=2)
    assert not same(kept.state, new.state)


@pytest.mark.parametrize("last", [True, False])
def test_the_config_says_the_layout_of_images(small: Small, last: bool) -> None:
    encoder = build_objective(small(f"model.channels_last={str(last).lower()}"), 16).encoder
    assert (encoder.layout == torch.channels_last) is last


def steps_of(worker: Worker, count: int) -> list[int]:
    return [len(rows) for rows in worker._batches(count, client=0, round=1)]


@pytest.mark.parametrize(
    ("overrides", "count", "steps"),
    [
        ((), 20, [8, 8, 4]),
        ((), 17, [8, 8]),
        ((), 5, [5]),
        (("client.local_epochs=2",), 9, [8, 8]),
        (("client.local_steps=5",), 17, [8, 8, 8, 8, 8]),
        (("client.local_steps=1",), 3, [3]),
    ],
)
def test_steps(small: Small, overrides: tuple[str, ...], count: int, steps: list[int]) -> None:
    assert steps_of(make(small(*overrides))[0], count) == steps


def test_an_epoch_sees_every_image_once(small: Small) -> None:
    worker, _ = make(small())
    rows = torch.cat(list(worker._batches(24, client=0, round=1)))
    assert sorted(rows.tolist()) == list(range(24))


def test_one_image_is_refused_with_the_fix(small: Small) -> None:
    worker, received = make(small())
    with pytest.raises(ValueError, match=r"client 0 has 1 image.*partition\.minimum"):
        run(worker, received, count=1)


def test_a_loss_that_explodes_is_an_error_with_the_fix(small: Small) -> None:
    worker, received = make(small())
    received["encoder.layers.0.weight"] = received["encoder.layers.0.weight"] * float("nan")
    with pytest.raises(ValueError, match=r"loss became nan in round 1: try a lower client\.lr"):
        run(worker, received)


def test_weights_that_explode_in_the_last_step_are_an_error_that_names_them(small: Small) -> None:
    worker, received = make(small("client.lr=1e38"))
    with pytest.raises(ValueError, match=r"weights became infinite or NaN, in \S+ first, in round"):
        run(worker, received, count=8)


def test_clipping_bounds_the_step(small: Small) -> None:
    clipped, received = make(
        small("client.clip_norm=0.001", "client.momentum=0", "client.weight_decay=0", "client.lr=1")
    )
    update = run(clipped, received, count=8)
    parameters = dict(clipped.objective.named_parameters())
    moved = sum((update.state[n] - received[n]).square().sum() for n in received if n in parameters)
    assert float(moved) ** 0.5 == pytest.approx(0.001, rel=0.01)


def test_a_stop_ends_an_update(small: Small) -> None:
    worker, received = make(small())
    worker.stop.set()
    with pytest.raises(Stopped):
        run(worker, received)


@pytest.mark.parametrize("objective", ["simclr", "byol", "simsiam", "barlow"])
def test_bf16_takes_nearly_the_same_step_and_leaves_all_tensors_float32(
    small: Small, objective: str
) -> None:
    choices = (f"objective={{name: {objective}}}", "client.batch_size=32", "client.local_steps=1")
    kept = "client.optimizer_state=kept"
    worker, received = make(small(*choices, kept))
    full = run(worker, received, count=32)
    worker, _ = make(small(*choices, kept, "client.precision=bf16"))
    short = run(worker, received, count=32)
    again = run(worker, received, count=32)
    assert same(again.state, short.state)
    assert short.loss == pytest.approx(full.loss, rel=5e-3, abs=5e-3)
    for before, after in ((full.state, short.state), (full.private, short.private)):
        assert {n: t.dtype for n, t in before.items()} == {n: t.dtype for n, t in after.items()}
    trained = [n for n, p in worker.objective.named_parameters() if p.requires_grad]
    one, other = (
        torch.cat([(update.state[n] - received[n]).flatten() for n in trained])
        for update in (full, short)
    )
    assert not torch.equal(one, other)
    assert torch.cosine_similarity(one, other, dim=0) > 0.95


@pytest.mark.parametrize(
    ("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_the_forward_pass_has_the_precision_asked_for(
    small: Small, precision: str, expected: torch.dtype
) -> None:
    worker, received = make(small(f"client.precision={precision}"))
    seen = set()
    worker.objective.encoder.register_forward_hook(lambda *call: seen.add(call[-1].dtype))
    run(worker, received)
    assert seen == {expected}


class Headed(Objective):
    """Keeps a head on the client, and does not say how it starts."""

    Config = ObjectiveConfig
    private = ("head",)

    def __init__(self, encoder: nn.Module, projector: Sequence[int], config: ObjectiveConfig):
        super().__init__(encoder, projector, config)
        self.encoder = encoder
        self.projector = nn.Identity()
        self.head = nn.LazyLinear(8)
        self.head(encoder(torch.zeros(2, 3, 16, 16)))

    def forward(self, batch: Batch) -> torch.Tensor:
        one, other = (self.head(self.encoder(view)) for view in batch.views)
        return nt_xent(one, other, 0.5)


def test_a_clients_first_round_never_begins_with_anothers_private_state(small: Small) -> None:
    experiment = small(f"objective={{name: {__name__}.Headed}}")
    worker, received = make(experiment)
    alone = run(worker, received, client=1)
    other, _ = make(experiment)
    run(other, received, client=0)
    after = run(other, received, client=1)
    assert same(alone.private, after.private)
    assert same(alone.state, after.state)
