import json
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from fedssl.client_rules import ClientRuleConfig
from fedssl.client_rules.fedema import Mixture
from fedssl.client_rules.fedu import KeepPredictor
from fedssl.client_rules.moon import ModelContrast
from fedssl.client_rules.proximal import Proximal
from fedssl.client_rules.sensitivity import Sensitivity
from fedssl.config import LearningConfig
from fedssl.model_state import State, clone, private_tensors
from fedssl.objectives import Batch, Objective, ObjectiveConfig
from fedssl.objectives.simclr import nt_xent
from fedssl.training.instructions import Instructions
from fedssl.training.local_update import LocalTrainer, UpdateCancelledError
from fedssl.training.transmission import TransmissionPlan
from tests.tools import custom_rules
from tests.tools.blueprints import blueprint
from tests.tools.local_updates import make_worker, random_examples, run_update
from tests.tools.tensors import same_state

Small = Callable[..., LearningConfig]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lars"])
@pytest.mark.parametrize("kept", ["fresh", "kept"])
def test_a_worker_leaves_nothing_of_a_client_to_the_next(
    small: Small, optimizer: str, kept: str
) -> None:
    experiment = small(f"client.optimizer={optimizer}", f"client.optimizer_state={kept}")
    worker, received = make_worker(experiment)
    alone = run_update(worker, received, client=1)
    run_update(worker, received, client=2)
    again = run_update(worker, received, client=1)
    fresh = run_update(make_worker(experiment)[0], received, client=1)
    assert same_state(alone.state, again.state)
    assert same_state(alone.private_state, again.private_state)
    assert same_state(alone.state, fresh.state)


def test_the_received_model_is_never_written_to(small: Small) -> None:
    worker, received = make_worker(small())
    before = clone(received)
    update = run_update(worker, received)
    assert same_state(before, received)
    assert not same_state(before, update.state)
    later = clone(update.state)
    run_update(worker, received, client=3)
    assert same_state(later, update.state)


def test_every_client_and_round_draws_its_own_numbers(small: Small) -> None:
    worker, received = make_worker(small())
    shown = random_examples(20)
    labels = torch.full((20,), -1)
    results = [
        worker.run(shown, labels, received, {}, client=c, server_round=r).state
        for c, r in [(0, 1), (1, 1), (0, 2)]
    ]
    assert not same_state(results[0], results[1])
    assert not same_state(results[0], results[2])


def test_every_view_is_made_by_its_own_steps(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, received = make_worker(
        small("objective={name: mv-infonce, views: 4}", "views=multi-crop")
    )
    seen: list[list[int]] = []
    loss = worker.objective.loss

    def note(batch: Batch) -> torch.Tensor:
        seen.append([view.shape[-1] for view in batch.views])
        return loss(batch)

    monkeypatch.setattr(worker.objective, "loss", note)
    run_update(worker, received, count=8)
    assert seen == [[16, 16, 8, 8]]


def test_byols_target_goes_on_from_the_clients_own_last_round(small: Small) -> None:
    worker, received = make_worker(small())
    first = run_update(worker, received)
    assert first.private_state
    assert not set(first.private_state) & set(first.state)
    second = run_update(worker, first.state, private=first.private_state, server_round=2)
    from_nothing = run_update(worker, first.state, server_round=2)
    assert not same_state(second.private_state, from_nothing.private_state)
    assert not same_state(second.state, from_nothing.state)


@pytest.mark.parametrize("round", [2, 12])
@pytest.mark.parametrize("on_return", ["keep", "resync"])
def test_after_an_absence_the_private_state_is_kept_or_started_anew(
    small: Small, on_return: str, round: int
) -> None:
    experiment = small(
        f"objective.on_return={on_return}", "rounds=20", "client.optimizer_state=kept"
    )
    worker, received = make_worker(experiment)
    first = run_update(worker, received)
    later = {n: t * 1.1 if t.is_floating_point() else t for n, t in first.state.items()}
    came_back = run_update(worker, later, private=first.private_state, server_round=round)
    optimizer = {n: t for n, t in first.private_state.items() if n.startswith("optimizer ")}
    as_if_new = run_update(worker, later, private=optimizer, server_round=round)
    resynced = on_return == "resync" and round == 12
    assert same_state(came_back.state, as_if_new.state) is resynced
    assert same_state(came_back.private_state, as_if_new.private_state) is resynced
    again = run_update(worker, later, private=came_back.private_state, server_round=round + 1)
    assert not same_state(again.private_state, came_back.private_state)


def test_the_optimizer_is_kept_on_request(small: Small) -> None:
    worker, received = make_worker(small("client.optimizer_state=kept", "objective.name=simclr"))
    first = run_update(worker, received)
    assert first.private_state
    assert not private_tensors(worker.objective)
    kept = run_update(worker, first.state, private=first.private_state, server_round=2)
    new = run_update(worker, first.state, server_round=2)
    assert not same_state(kept.state, new.state)


@pytest.mark.parametrize("last", [True, False])
def test_the_config_says_the_layout_of_examples(small: Small, last: bool) -> None:
    experiment = small(f"model.channels_last={str(last).lower()}")
    encoder = blueprint(experiment, 16).build().encoder
    assert (encoder.layout == torch.channels_last) is last


def steps_of(worker: LocalTrainer, count: int) -> list[int]:
    return [len(rows) for rows in worker._batches(count, client=0, server_round=1)]


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
    assert steps_of(make_worker(small(*overrides))[0], count) == steps


def test_steps_and_the_loss_of_chance_are_told(small: Small) -> None:
    worker, received = make_worker(small("objective.name=simclr"))
    trained = run_update(worker, received, count=12).stats
    assert trained.steps == 2
    assert trained.chance_loss == pytest.approx((8 * math.log(15) + 4 * math.log(7)) / 12)
    worker, received = make_worker(small("objective.name=byol"))
    assert run_update(worker, received, count=12).stats.chance_loss == 0


def test_an_epoch_sees_every_example_once(small: Small) -> None:
    worker, _ = make_worker(small())
    rows = torch.cat(list(worker._batches(24, client=0, server_round=1)))
    assert sorted(rows.tolist()) == list(range(24))


def test_one_example_is_refused_with_the_fix(small: Small) -> None:
    worker, received = make_worker(small())
    with pytest.raises(ValueError, match=r"client 0 has 1 example.*partition\.minimum"):
        run_update(worker, received, count=1)


def test_a_loss_that_explodes_is_an_error_with_the_fix(small: Small) -> None:
    worker, received = make_worker(small())
    received["encoder.layers.0.weight"] = received["encoder.layers.0.weight"] * float("nan")
    with pytest.raises(ValueError, match=r"loss became nan in round 1: try a lower client\.lr"):
        run_update(worker, received)


def test_a_private_state_that_explodes_in_the_last_step_is_an_error_that_names_it(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, received = make_worker(small())

    def explode(share: float) -> None:
        next(iter(private_tensors(worker.objective).values())).fill_(float("inf"))

    monkeypatch.setattr(worker.objective, "after_step", explode)
    with pytest.raises(
        ValueError, match=r"private state became infinite or NaN, in target\S+ first, in round"
    ):
        run_update(worker, received, count=8)


def test_clipping_bounds_the_step(small: Small) -> None:
    clipped, received = make_worker(
        small("client.clip_norm=0.001", "client.momentum=0", "client.weight_decay=0", "client.lr=1")
    )
    update = run_update(clipped, received, count=8)
    parameters = dict(clipped.objective.named_parameters())
    moved = sum((update.state[n] - received[n]).square().sum() for n in received if n in parameters)
    assert float(moved) ** 0.5 == pytest.approx(0.001, rel=0.01)


def test_a_stop_ends_an_update(small: Small) -> None:
    worker, received = make_worker(small())
    worker.stop.set()
    with pytest.raises(UpdateCancelledError):
        run_update(worker, received)


@pytest.mark.parametrize("objective", ["simclr", "byol", "simsiam", "barlow"])
def test_bf16_takes_nearly_the_same_step_and_leaves_all_tensors_float32(
    small: Small, objective: str
) -> None:
    choices = (f"objective={{name: {objective}}}", "client.batch_size=32", "client.local_steps=1")
    kept = "client.optimizer_state=kept"
    worker, received = make_worker(small(*choices, kept))
    full = run_update(worker, received, count=32)
    worker, _ = make_worker(small(*choices, kept, "client.precision=bf16"))
    short = run_update(worker, received, count=32)
    again = run_update(worker, received, count=32)
    assert same_state(again.state, short.state)
    assert short.stats.loss == pytest.approx(full.stats.loss, rel=5e-3, abs=5e-3)
    for before, after in ((full.state, short.state), (full.private_state, short.private_state)):
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
    worker, received = make_worker(small(f"client.precision={precision}"))
    seen = set()
    worker.objective.encoder.register_forward_hook(lambda *call: seen.add(call[-1].dtype))
    run_update(worker, received)
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
    worker, received = make_worker(experiment)
    alone = run_update(worker, received, client=1)
    other, _ = make_worker(experiment)
    run_update(other, received, client=0)
    after = run_update(other, received, client=1)
    assert same_state(alone.private_state, after.private_state)
    assert same_state(alone.state, after.state)


STANDS_STILL = ("client.lr=0", "client.weight_decay=0")
"""What a client starts from is what it sends back, BatchNorm's statistics apart."""


def parameters_of(worker: LocalTrainer, state: State) -> State:
    trained = dict(worker.objective.named_parameters())
    return {n: t for n, t in state.items() if n in trained}


def test_fedema_starts_from_a_mix_of_the_clients_own_and_the_global_model(small: Small) -> None:
    mixing = Instructions(rules=(Mixture.Config(tau=0.25),))
    worker, received = make_worker(small())
    first = run_update(worker, received, instructions=mixing)
    assert same_state(first.state, run_update(worker, received).state)
    other, _ = make_worker(small(*STANDS_STILL))
    after = {n: t + 1 if t.is_floating_point() else t for n, t in received.items()}
    second = run_update(
        other, after, private=first.private_state, server_round=2, instructions=mixing
    )
    for name, start in parameters_of(worker, second.state).items():
        expected = 0.25 * first.state[name] + 0.75 * after[name]
        torch.testing.assert_close(start, expected)
    absent = run_update(
        other, after, private=first.private_state, server_round=3, instructions=mixing
    )
    new = run_update(other, after, server_round=3, instructions=mixing)
    assert same_state(absent.state, new.state)
    assert all(
        torch.equal(absent.private_state[n], t) for n, t in new.private_state.items() if "." in n
    )


def test_fedu_keeps_the_predictor_of_a_client_that_moved_far(small: Small) -> None:
    worker, received = make_worker(small())
    for threshold, keeps in ((0.0, True), (1e6, False)):
        keeping = Instructions(rules=(KeepPredictor.Config(threshold=threshold),))
        first = run_update(worker, received, instructions=keeping)
        still, _ = make_worker(small(*STANDS_STILL))
        second = run_update(
            still, received, private=first.private_state, server_round=2, instructions=keeping
        )
        for name, start in parameters_of(worker, second.state).items():
            own = keeps and name.startswith("predictor.")
            assert torch.equal(start, first.state[name] if own else received[name])


def test_what_is_local_begins_as_the_seed_makes_it_and_is_remembered(small: Small) -> None:
    worker, received = make_worker(small())
    local = tuple(n for n in received if n.startswith(("projector.", "predictor.")))
    sent = {n: t for n, t in received.items() if n not in local}
    heads_stay = Instructions(TransmissionPlan(local=local))
    # After others, too: a worker must not give a client the heads of another.
    run_update(worker, received, client=2)
    first = run_update(worker, sent, client=1, instructions=heads_stay)
    assert same_state(first.state, run_update(worker, received, client=1).state)
    still, _ = make_worker(small(*STANDS_STILL))
    second = run_update(
        still, sent, private=first.private_state, client=1, server_round=2, instructions=heads_stay
    )
    heads = parameters_of(worker, {n: first.state[n] for n in local})
    assert all(torch.equal(second.state[n], t) for n, t in heads.items())
    with pytest.raises(ValueError, match="the models differ"):
        run_update(worker, sent, client=1)


def test_fedprox_holds_a_client_near_the_global_model(small: Small) -> None:
    worker, received = make_worker(small("client.lr=0.01"))

    def distance(mu: float) -> float:
        held = Instructions(rules=(Proximal.Config(mu=mu),))
        state = parameters_of(worker, run_update(worker, received, instructions=held).state)
        return sum(float((t - received[n]).square().sum()) for n, t in state.items())

    assert distance(30.0) < 0.5 * distance(0.0)


def test_terms_are_not_in_the_loss_that_is_told(small: Small) -> None:
    worker, received = make_worker(small("client.local_steps=1"))
    plain = run_update(worker, received).stats.loss
    far = Instructions(rules=(ModelContrast.Config(mu=5.0), Proximal.Config(mu=1.0)))
    first = run_update(worker, received, instructions=far)
    assert first.stats.loss == plain
    again = run_update(worker, received, private=first.private_state, instructions=far)
    assert again.stats.loss == pytest.approx(plain, rel=0.05)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_moon_and_sensitivity_in_either_precision(small: Small, precision: str) -> None:
    worker, received = make_worker(small(f"client.precision={precision}"))
    both = Instructions(rules=(ModelContrast.Config(), Sensitivity.Config(decay=0.9)))
    first = run_update(worker, received, instructions=both)
    second = run_update(
        worker, received, private=first.private_state, server_round=2, instructions=both
    )
    assert {t.dtype for t in second.state.values()} == {torch.float32, torch.int64}
    assert second.metrics.keys() == {"sensitivity/omega"}
    omega = second.metrics["sensitivity/omega"]
    assert isinstance(omega, list)
    assert len(omega) == len(parameters_of(worker, received))
    plain = run_update(worker, received, private=first.private_state, server_round=2)
    moved = [n for n, t in parameters_of(worker, plain.state).items() if n.startswith("enc")]
    largest = max((plain.state[n] - second.state[n]).abs().max().item() for n in moved)
    assert largest > 1e-4


def test_a_scheduled_layer_is_ones_own_while_it_is_newer(small: Small) -> None:
    layer = "encoder.layers.0.weight"
    worker, received = make_worker(small())
    plan = TransmissionPlan(scheduled=(layer,), merged=(0,), withheld=(layer,))
    first = run_update(worker, received, server_round=1, instructions=Instructions(plan))
    assert not torch.equal(first.state[layer], received[layer])
    still, _ = make_worker(small(*STANDS_STILL))
    for merged, newer in ((0, True), (1, False), (2, False)):
        later = TransmissionPlan(scheduled=(layer,), merged=(merged,))
        second = run_update(
            still,
            received,
            private=first.private_state,
            server_round=3,
            instructions=Instructions(later),
        )
        for name, start in parameters_of(worker, second.state).items():
            kept = newer and name == layer
            assert torch.equal(start, first.state[name] if kept else received[name])


OLDER = {"last round": torch.tensor(1.0), "last moved": torch.tensor(0.5)}
"""What versions before the client rules kept of a visit, beside the client's own tensors."""


@pytest.mark.parametrize("rule", [Mixture.Config(), KeepPredictor.Config(), ModelContrast.Config()])
def test_what_an_older_version_remembered_for_a_rule_is_refused(
    small: Small, rule: ClientRuleConfig
) -> None:
    worker, received = make_worker(small())
    older = OLDER | {f"own {name}": tensor for name, tensor in received.items()}
    with pytest.raises(ValueError, match=rf"stored for {rule.name} was written by an older .*"):
        run_update(
            worker,
            received,
            private=older,
            server_round=2,
            instructions=Instructions(rules=(rule,)),
        )


def test_what_an_older_version_kept_local_is_taken_up(small: Small) -> None:
    worker, received = make_worker(small(*STANDS_STILL))
    local = tuple(n for n in received if n.startswith("predictor."))
    sent = {n: t for n, t in received.items() if n not in local}
    older = OLDER | {f"own {n}": received[n] + 1 for n in local}
    update = run_update(
        worker,
        sent,
        private=older,
        server_round=2,
        instructions=Instructions(TransmissionPlan(local=local)),
    )
    for name in parameters_of(worker, {n: received[n] for n in local}):
        assert torch.equal(update.state[name], received[name] + 1)
    assert "last moved" not in update.private_state
    assert {n for n in update.private_state if n.startswith("own ")} == {f"own {n}" for n in local}


def test_a_rule_of_ones_own_is_followed(small: Small) -> None:
    worker, received = make_worker(small("client.lr=0.01"))
    name = f"{custom_rules.__name__}.Small"
    plain = run_update(worker, received)
    mine = Instructions.from_config({"rules": json.dumps([{"name": name, "weight": 3.0}])})
    first = run_update(worker, received, instructions=mine)
    second = run_update(
        worker, first.state, private=first.private_state, server_round=2, instructions=mine
    )

    def size(state: State) -> float:
        return sum(float(t.square().sum()) for t in parameters_of(worker, state).values())

    assert size(first.state) < 0.9 * size(plain.state)
    assert first.stats.steps == plain.stats.steps
    assert first.metrics.keys() == {f"{name}/size", f"{name}/steps"}
    assert first.metrics[f"{name}/steps"] == [3.0]
    assert first.extra.keys() == {f"{name}/sum"}
    visits = [update.private_state[f"rule {name} visits"].item() for update in (first, second)]
    assert visits == [1, 2]
