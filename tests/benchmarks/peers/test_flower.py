import importlib.util
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.supercore import telemetry

from clients.flower_adapter.error_replies import error_reply
from clients.flower_adapter.messages import become_server
from simulations import Experiment
from tests.benchmarks.peers import accounting, flower

needs_flower = pytest.mark.skipif(
    flower.missing() is not None, reason=flower.missing() or "is installed"
)


def end_to_end(config: str, *overrides: str) -> tuple[float, float, str, int]:
    """Measure, and return with it the telemetry's state and how many processes are left."""
    whole, rounds = flower.end_to_end(config, overrides)
    return whole, rounds, telemetry.FLWR_TELEMETRY_ENABLED, len(accounting.tree_cpu_seconds()) - 1


def test_what_is_missing_is_said_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'flwr[simulation]" in (flower.missing() or "")


def replies(*begins: float) -> list[Message]:
    become_server()
    made = []
    for node, began in enumerate(begins, start=1):
        metrics = MetricRecord({"num-examples": 1, "began": began})
        content = RecordDict({"arrays": ArrayRecord(), "metrics": metrics})
        made.append(Message(content, reply_to=Message(RecordDict(), node, "train")))
    return made


@needs_flower
def test_the_clock_runs_from_the_first_client_to_the_last_merging() -> None:
    strategy = flower.Timed(fraction_train=1.0, cohort=2, clients=2)
    strategy.aggregate_train(1, replies(3.0, 2.0))
    first = strategy.ended
    strategy.aggregate_train(2, replies(5.0, 4.0))
    assert strategy.began == 2.0
    assert strategy.ended > first
    assert len(strategy.cpu_seconds) == 2


@needs_flower
def test_a_client_that_fails_ends_the_measurement() -> None:
    strategy = flower.Timed(fraction_train=1.0, cohort=1, clients=1)
    become_server()
    failed = error_reply(Message(RecordDict(), 1, "train"), ValueError("no images"))
    with pytest.raises(RuntimeError, match="no images"):
        strategy.aggregate_train(1, [failed])


@needs_flower
@pytest.mark.slow
def test_a_client_round_costs_time(fresh: ProcessPoolExecutor) -> None:
    assert fresh.submit(flower.client_round, "convnet", 2, 1).result() > 0


@needs_flower
@pytest.mark.slow
def test_an_experiment_runs_from_end_to_end_and_leaves_no_process(
    small: Callable[..., Experiment], fresh: ProcessPoolExecutor, tmp_path: Path
) -> None:
    small()
    whole, rounds, telemetry_enabled, left = fresh.submit(
        end_to_end,
        str(tmp_path / "small.yaml"),
        "objective.name=simclr",
        "strategy.name=fedavg",
        "rounds=2",
    ).result()
    assert whole > rounds > 0
    assert telemetry_enabled == "0"
    assert left == 0
