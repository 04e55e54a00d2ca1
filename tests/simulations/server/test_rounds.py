import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from safetensors.torch import load_file
from torch import Tensor

import fedssl
from simulations import ConfigError, Experiment, RunError, run
from simulations.record.run_folder import RunFolder
from strategies import FedAvg
from strategies.messages import to_record, to_state
from tests.tools.runs import StopsAfter, read_rows, same_result

Small = Callable[..., Experiment]

pytestmark = pytest.mark.usefixtures("without_report")


@pytest.mark.usefixtures("with_report")
def test_a_run_leaves_what_the_documentation_says(small: Small, tmp_path: Path) -> None:
    finished = run(small(), tmp_path / "run")
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "config.yaml",
        "metrics.jsonl",
        "divergence.csv",
        "partition.csv",
        "predictions.npz",
        "model.safetensors",
        "summary.json",
        "checkpoint",
        "plots",
        "report.html",
    }
    metrics = finished.metrics
    assert [row["round"] for row in metrics] == [0, 1, 2, 3]
    assert [len(row["cohort"]) for row in metrics] == [0, 2, 2, 2]
    assert all(0 <= row["linear_accuracy"] <= 1 for row in metrics)
    assert finished.experiment.engine.device == "cpu"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["final"]["linear_accuracy"] == metrics[-1]["linear_accuracy"]
    assert summary["total"]["bytes_up"] == sum(row["bytes_up"] for row in metrics)
    state = load_file(tmp_path / "run" / "model.safetensors")
    assert {name.split(".")[0] for name in state} == {"encoder", "projector"}


def test_what_the_probe_took_each_test_example_for_is_kept(small: Small, tmp_path: Path) -> None:
    finished = run(small(), tmp_path / "run")
    kept = RunFolder(tmp_path / "run").read_predictions()
    assert kept.keys() == {"label", "untrained", "final"}
    assert len(kept["label"]) == 24
    for name, row in (("untrained", finished.metrics[0]), ("final", finished.metrics[-1])):
        assert (kept[name] == kept["label"]).mean() == row["linear_accuracy"]


@pytest.mark.slow
def test_only_one_client_takes_part_with_the_draws_that_it_always_has(
    small: Small, tmp_path: Path
) -> None:
    alone = run(small("only_client=2"), tmp_path / "alone").metrics
    assert [row["cohort"] for row in alone] == [[], [2], [2], [2]]
    everybody = run(small("participation=1.0", "strategy.name=fedavg"), tmp_path / "all").metrics
    assert _measures(alone[0]) == _measures(everybody[0])
    with pytest.raises(ConfigError, match="only_client = 4: there are clients 0 to 3"):
        run(small("only_client=4"), tmp_path / "nobody")


def _measures(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.endswith("seconds")}


@pytest.mark.slow
def test_a_warm_start_begins_where_the_other_run_ended(small: Small, tmp_path: Path) -> None:
    first = run(small(), tmp_path / "first").metrics
    init = f"model.init={tmp_path / 'first' / 'model.safetensors'}"
    warm = run(small(init, "seed=9", "rounds=1"), tmp_path / "warm").metrics
    for measure in ("linear_accuracy", "knn_accuracy", "rankme"):
        assert warm[0][measure] == first[-1][measure]
    with pytest.raises(ConfigError, match=r"model\.init = .*there is no such file"):
        run(small("model.init=gone.safetensors"), tmp_path / "gone")


def test_the_same_config_and_seed_give_the_same_bits(small: Small, tmp_path: Path) -> None:
    run(small(), tmp_path / "one")
    run(small("engine.workers=1"), tmp_path / "two")
    assert same_result(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_another_seed_gives_another_result(small: Small, tmp_path: Path) -> None:
    run(small("rounds=1"), tmp_path / "one")
    run(small("rounds=1", "seed=4"), tmp_path / "two")
    assert not same_result(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        pytest.param(
            ("client.optimizer=adam", "client.optimizer_state=kept"), marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.parametrize(
    "after",
    [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    small: Small, tmp_path: Path, after: int, overrides: tuple[str, ...]
) -> None:
    experiment = small(*overrides)
    run(experiment, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(experiment, tmp_path / "stopped", display=StopsAfter(after))
    assert len(read_rows(tmp_path / "stopped")) == after + 1
    run(experiment, tmp_path / "stopped", resume=True)
    assert same_result(tmp_path / "straight", tmp_path / "stopped")


@pytest.mark.slow
def test_rows_written_after_the_checkpoint_are_run_again(small: Small, tmp_path: Path) -> None:
    run(small(), tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(small(), tmp_path / "run", display=StopsAfter(1))
    folder = RunFolder(tmp_path / "run")
    folder.add_row({"round": 2, "cohort": []})
    folder.add_divergence(2, 0, ["w"], [0.5])
    with folder.metrics.open("a") as file:
        file.write('{"round": 3, "coh')
    run(small(), tmp_path / "run", resume=True)
    assert same_result(tmp_path / "straight", tmp_path / "run")


def test_resume_with_nothing_there_begins(small: Small, tmp_path: Path) -> None:
    assert len(run(small("rounds=1"), tmp_path / "run", resume=True).metrics) == 2


def test_resuming_a_finished_run_changes_nothing(small: Small, tmp_path: Path) -> None:
    run(small("rounds=1"), tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    run(small("rounds=1"), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert len(read_rows(tmp_path / "run")) == 2


def test_resume_refuses_another_config(small: Small, tmp_path: Path) -> None:
    run(small("rounds=1"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"client\.lr was 0\.05, is now 0\.1"):
        run(small("rounds=1", "client.lr=0.1"), tmp_path / "run", resume=True)


@pytest.mark.parametrize("native", [True, False])
def test_automatic_precision_is_settled_before_the_run(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    finished = run(small("rounds=1", "client.precision=auto"), tmp_path / "run")
    settled, other = ("bf16", "fp32") if native else ("fp32", "bf16")
    assert finished.experiment.client.precision == settled
    with pytest.raises(ConfigError, match=rf"precision was {settled}, is now {other}"):
        run(small("rounds=1", f"client.precision={other}"), tmp_path / "run", resume=True)


def test_nothing_on_disk_is_overwritten(small: Small, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(ConfigError, match="is not empty"):
            run(small(), tmp_path / "run", resume=resume)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("objective", "strategy"),
    [("simclr", "ldawa"), ("byol", "fedavg"), ("simsiam", "ldawa"), ("barlow", "fedavg")],
)
def test_objectives_and_strategies_are_chosen_apart(
    small: Small, tmp_path: Path, objective: str, strategy: str
) -> None:
    names = (f"objective.name={objective}", f"strategy.name={strategy}", "rounds=2")
    metrics = run(
        small(*names, "strategy.warmup_rounds=1") if strategy == "ldawa" else small(*names),
        tmp_path / "run",
    ).metrics
    assert np.isfinite([row["train_loss"] for row in metrics[1:]]).all()


def test_evaluation_every_second_round_and_at_the_end(small: Small, tmp_path: Path) -> None:
    metrics = run(small("evaluation.every=2"), tmp_path / "run").metrics
    assert ["linear_accuracy" in row for row in metrics] == [True, False, True, True]


def test_the_encoder_loads_as_it_was_probed(small: Small, tmp_path: Path) -> None:
    finished = run(small("rounds=1"), tmp_path / "run")
    encoder = finished.encoder()
    assert not encoder.training
    examples = torch.randn(2, 3, 16, 16)
    again = fedssl.load_encoder(tmp_path / "run" / "model.safetensors")
    assert torch.equal(encoder(examples), again(examples))
    stored = load_file(tmp_path / "run" / "model.safetensors")["encoder.layers.0.weight"]
    assert torch.equal(encoder.state_dict()["layers.0.weight"], stored)


@pytest.mark.parametrize("content", [None, b"not a model"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        fedssl.load_encoder(path)


@pytest.mark.slow
def test_flowers_own_strategy_works_unchanged(small: Small, tmp_path: Path) -> None:
    theirs = small("strategy={name: flwr.serverapp.strategy.FedAvg}")
    run(theirs, tmp_path / "theirs")
    run(small("strategy={name: fedavg}"), tmp_path / "ours")
    one, other = (load_file(tmp_path / n / "model.safetensors") for n in ("theirs", "ours"))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


class ServerMomentum(FedAvg):
    """Keeps a state on the server, as FedAvgM does, so that checkpoints must hold it."""

    def __init__(self, beta: float):
        super().__init__()
        self.beta = beta
        self.velocity: dict[str, Tensor] = {}

    def aggregate_train(
        self, server_round: int, replies: Any
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        before = self._broadcast_model
        assert before is not None
        merged, metrics = super().aggregate_train(server_round, replies)
        assert merged is not None
        result = {}
        for name, value in to_state(merged).items():
            if "running" in name or not value.is_floating_point():
                # By momentum, variances could become negative.
                result[name] = value
                continue
            step = value.float() - before[name].float()
            self.velocity[name] = self.beta * self.velocity.get(name, torch.zeros(())) + step
            result[name] = before[name] + self.velocity[name]
        return to_record(result), metrics

    def state_dict(self) -> dict[str, Tensor]:
        return self.velocity

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.velocity = dict(state)


def test_a_strategys_own_state_is_resumed(small: Small, tmp_path: Path) -> None:
    experiment = small(f"strategy={{name: {__name__}.ServerMomentum, beta: 0.5}}")
    run(experiment, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(experiment, tmp_path / "stopped", display=StopsAfter(2))
    run(experiment, tmp_path / "stopped", resume=True)
    assert same_result(tmp_path / "straight", tmp_path / "stopped")


class Loses(FedAvg):
    """Loses the model of every client but those named."""

    def __init__(self, keep: list[int]):
        super().__init__()
        self.keep = keep

    def configure_train(self, *arguments: Any) -> list[Message]:
        messages = super().configure_train(*arguments)
        for message in messages:
            if message.metadata.dst_node_id - 1 not in self.keep:
                message.content["arrays"] = to_record({"other": torch.zeros(1)})
        return messages


def test_failed_clients_are_counted_and_the_round_goes_on(small: Small, tmp_path: Path) -> None:
    strategy = f"strategy={{name: {__name__}.Loses, keep: [1, 2]}}"
    metrics = run(small("participation=1", "rounds=1", strategy), tmp_path / "run").metrics
    assert metrics[1]["failed"] == [0, 3]


def test_a_round_without_any_success_ends_the_run_with_the_reason(
    small: Small, tmp_path: Path
) -> None:
    strategy = f"strategy={{name: {__name__}.Loses, keep: []}}"
    with pytest.raises(RunError, match=r"round 1: every client failed; client \d: .*models differ"):
        run(small(strategy), tmp_path / "run")
    assert len(read_rows(tmp_path / "run")) == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train=gone.npz", r"data\.train.*gone\.npz"),
        ("partition.clients=100", r"partition\.clients = 100"),
        ("partition.minimum=1", None),
        ("strategy={name: krum}", r"2 of 4 clients .* krum needs at least 5"),
    ],
)
def test_what_the_data_rule_out_is_refused_before_anything_is_written(
    small: Small, tmp_path: Path, override: str, message: str | None
) -> None:
    if message is None:
        # 48 examples for 48 clients: one each, which no contrastive batch can be made of.
        override, message = "partition={name: iid, clients: 48, minimum: 1}", "at least 3"
    with pytest.raises(ConfigError, match=message):
        run(small(override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("strategy={name: nope.X}",), "nope"),
        (("model.encoder=nope.X",), "nope"),
        (("objective={name: nope.X}",), "nope"),
        (("objective={name: os.path}",), "os"),
        (("model.encoder=torch.nn.Identity",), "features"),
        (("client.nesterov=true", "client.momentum=0"), "Nesterov"),
        (
            ("strategy={name: flwr.serverapp.strategy.FedAvg, fraction_train: 0.5}",),
            "participation",
        ),
        (("client.batch_size=2",), r"client\.batch_size = 2: byol needs at least 3"),
    ],
)
def test_what_cannot_be_built_is_refused_before_anything_is_written(
    small: Small, tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(small(*overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class AsksForMore(FedAvg):
    """Asks for what no client does."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        config["dropout-rate"] = 0.5
        return super().configure_train(server_round, arrays, config, grid)


def test_a_strategy_that_asks_its_clients_for_more_is_refused(small: Small, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"dropout-rate"):
        run(small(f"strategy={{name: {__name__}.AsksForMore}}"), tmp_path / "run")


def test_flowers_own_fedprox_is_carried_out(small: Small, tmp_path: Path) -> None:
    theirs = "strategy={name: flwr.serverapp.strategy.FedProx, proximal_mu: 1.0}"
    run(small(theirs, "rounds=1"), tmp_path / "theirs")
    run(small("strategy={name: fedprox, mu: 1.0}", "rounds=1"), tmp_path / "ours")
    one, other = (load_file(tmp_path / n / "model.safetensors") for n in ("theirs", "ours"))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_weights_that_explode_end_the_run_with_the_fix(small: Small, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"client\.lr"):
        run(small("client.lr=1e30", "objective.name=simclr"), tmp_path / "run")


def test_a_line_cut_within_its_round_number_is_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    costs = {"cohort": [], "failed": [], "bytes_up": 0, "bytes_down": 0, "seconds": 0.5}
    for number in range(12):
        folder.add_row({"round": number, **costs})
    folder.divergence.write_text("round,client,tensor,divergence\n1,0,w,0.5\n1")
    folder.forget_after(11)
    assert folder.divergence.read_text() == "round,client,tensor,divergence\n1,0,w,0.5\n"
    assert len(folder.read_metrics()) == 12
