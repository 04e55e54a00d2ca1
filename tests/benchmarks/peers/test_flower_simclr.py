from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict

from clients.flower_adapter.messages import become_server
from simulations import Experiment
from simulations.setup.prepare import prepare
from tests.benchmarks.peers import flower_simclr
from tests.benchmarks.peers.flower_simclr import check, fit, make_client_app
from tests.tools.blueprints import blueprint

Small = Callable[..., Experiment]
SIMCLR = ("objective.name=simclr", "strategy.name=fedavg")


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("objective.name=simsiam", "objective.name = simsiam"),
        ("strategy.name=ldawa", "strategy.name = ldawa"),
        ("client.local_steps=3", "client.local_steps = 3"),
        ("client.optimizer_state=kept", "client.optimizer_state = kept"),
        ("client.clip_norm=1", "client.clip_norm = 1"),
        ("views=[{name: crop}, {name: blur}]", "crop, flip, jitter, grayscale alone.*blur is"),
        ("views=[{name: crop, side: 0.5}]", "of the image's side.*crop is another"),
        ("views=[{name: flip, last_view: 1}]", "the same for both views.*flip is another"),
        ("data.limit.train=46", "participation = 0.5"),
    ],
)
def test_what_would_not_be_the_same_work_is_refused(
    small: Small, override: str, field: str
) -> None:
    with pytest.raises(ValueError, match=field):
        check(prepare(small(*SIMCLR, override)))


def test_unlike_clients_are_the_same_work_if_all_take_part(small: Small) -> None:
    check(prepare(small(*SIMCLR, "data.limit.train=46", "participation=1.0")))


def test_a_client_trains_on_its_own_images(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(small(*SIMCLR))
    seen: list[np.ndarray] = []

    def note(
        experiment: Experiment,
        images: np.ndarray,
        state: dict[str, torch.Tensor],
        server_round: int,
    ) -> tuple[dict[str, torch.Tensor], float]:
        seen.append(np.array(images))
        assert server_round == 2
        return state, 1.5

    monkeypatch.setattr(flower_simclr, "fit", note)
    app = make_client_app(prepared, tmp_path / "images.npy")
    become_server()
    for client in range(4):
        config = ConfigRecord({"server-round": 2})
        content = RecordDict({"arrays": ArrayRecord(), "config": config})
        message = Message(content, client + 1, "train")
        context = Context(1, client + 1, {"partition-id": client}, RecordDict(), {})
        reply = app(message, context)
        assert reply.content.metric_records["metrics"]["num-examples"] == 12
        own = prepared.splits.train.examples[torch.from_numpy(prepared.partition.indices(client))]
        assert np.array_equal(seen[-1], own.permute(0, 2, 3, 1).numpy())


def test_a_client_takes_as_many_steps_as_ours(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 17 images, eight, eight and one, which is too few for a step.
    experiment = small(*SIMCLR, "client.local_epochs=2")
    steps: list[float] = []
    step = torch.optim.SGD.step

    def counted(self: torch.optim.SGD) -> None:
        steps.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.SGD, "step", counted)
    state = blueprint(experiment, 16).build().state_dict()
    images = np.random.default_rng(0).integers(0, 256, (17, 16, 16, 3), dtype=np.uint8)
    trained, loss = fit(experiment, images, state, 1)
    assert steps == [experiment.client.lr] * 4
    assert 0 < loss < 10
    assert trained.keys() == state.keys()
    assert not torch.equal(trained["projector.0.weight"], state["projector.0.weight"])


def test_a_client_starts_from_the_model_that_it_got(small: Small) -> None:
    experiment = small(*SIMCLR, "client.lr=0")
    state = blueprint(experiment, 16).build().state_dict()
    state["projector.0.weight"] = torch.full_like(state["projector.0.weight"], 0.01)
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    trained, _ = fit(experiment, images, state, 1)
    assert torch.equal(trained["projector.0.weight"], state["projector.0.weight"])
