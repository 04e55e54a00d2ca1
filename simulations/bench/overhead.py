"""The engine's overhead of a client-round without local work: CPU time and memory."""

import torch

from fedssl.base.allocator import keep_freed_memory
from simulations.bench.measurement import Measurement, Target
from simulations.bench.setting import NEVER, experiment, idle_server
from simulations.bench.timing import (
    compare,
    cpu_seconds,
    in_fresh_process,
    one_core,
    peak_above_mb,
    resident_mb,
)
from simulations.settings.experiment import Experiment

AFTER_WARMUP = 10
"""A round after L-DAWA's warm-up."""


def client_rounds(cohort: int, times: int) -> list[Measurement]:
    """Measure the CPU time of a client-round of ResNet-18 without local work, on one core."""
    keep_freed_memory()
    return [
        _client_round("FedAvg", "fedavg", NEVER, cohort, times, Target(10, False, unit="CPU-ms")),
        _client_round("FedAvg, δ reported", "fedavg", 1, cohort, times, None),
        _client_round("L-DAWA", "ldawa", NEVER, cohort, times, None),
    ]


def _client_round(
    label: str, strategy: str, every: int, cohort: int, times: int, target: Target | None
) -> Measurement:
    with one_core(), idle_server(_config(strategy, every), cohort) as server:
        own = [t for t in server.state().values() if t.is_floating_point()]
        copies, sums = ([t.clone() for t in own] for _ in range(2))

        def ours() -> float:
            return cpu_seconds(lambda: server.train(AFTER_WARMUP, list(range(cohort))))

        def floor() -> float:
            def work() -> None:
                for _ in range(cohort):
                    torch._foreach_copy_(copies, own)
                    torch._foreach_add_(sums, copies, alpha=0.5)

            return cpu_seconds(work)

        return compare(
            f"client-round without local work, resnet18, {label}",
            "CPU-ms",
            lambda: ours() / cohort * 1000,
            lambda: floor() / cohort * 1000,
            times=times,
            target=target,
            note="copying in and adding up alone",
        )


def client_round_seconds(cohort: int, rounds: int) -> float:
    """Return the CPU seconds of a client-round of ResNet-18 without local work, by FedAvg."""
    keep_freed_memory()
    with one_core(), idle_server(_config("fedavg", NEVER), cohort) as server:
        chosen = list(range(cohort))
        server.train(AFTER_WARMUP, chosen)
        spent = cpu_seconds(lambda: [server.train(AFTER_WARMUP, chosen) for _ in range(rounds)])
        return spent / rounds / cohort


def memory(many: int | None) -> list[Measurement]:
    """Measure the peak memory of rounds without local work, of 10 clients and of many."""
    few = 10
    measurements = []
    for label, strategy in (("FedAvg", "fedavg"), ("L-DAWA", "ldawa")):
        least = in_fresh_process(peak_of_rounds, strategy, few)
        measurements.append(
            Measurement(
                f"peak memory above the imports, resnet18, cohort of {few}, {label}",
                "MB",
                least,
                target=Target(260, at_least=False, unit="MB") if strategy == "fedavg" else None,
                note="" if least else "not measured: only Linux reports it",
            )
        )
        if many is None:
            # The rest takes minutes.
            return measurements
        most = in_fresh_process(peak_of_rounds, strategy, many)
        measurements.append(
            Measurement(
                f"the same with a cohort of {many:,}, {label}",
                "MB",
                most,
                reference=least,
                ratio=most / least if most and least else None,
                target=Target(1.05, at_least=False, of_ratio=True),
                note=f"a cohort of {few}",
            )
        )
    return measurements


def peak_of_rounds(strategy: str, cohort: int, encoder: str = "resnet18") -> float | None:
    """Return the peak memory, in MB above the imports, of two rounds without local work."""
    before = resident_mb()
    with idle_server(_config(strategy, NEVER, encoder), cohort) as server:
        for number in (AFTER_WARMUP, AFTER_WARMUP + 1):
            server.train(number, list(range(cohort)))
    return peak_above_mb(before)


def _config(strategy: str, every: int, encoder: str = "resnet18") -> Experiment:
    return experiment(
        model={"encoder": encoder}, strategy={"name": strategy}, evaluation={"every": every}
    )
