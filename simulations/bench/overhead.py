"""What the engine costs around the local work: CPU time and memory of a client-round."""

import torch

from fedssl.memory import keep_freed_memory
from fedssl.state import clone
from simulations.bench.figure import Figure, Target
from simulations.bench.setting import experiment, idle_server
from simulations.bench.timing import compare, cpu_seconds, in_fresh_process, peak_mb, resident_mb

AFTER_WARMUP = 10
"""A round in which L-DAWA merges by its own rule."""


def client_rounds(cohort: int, times: int) -> list[Figure]:
    """Measure the CPU time of a client-round of ResNet-18 without local work."""
    keep_freed_memory()
    figures = []
    for name, strategy, every, target in (
        ("FedAvg", "fedavg", 1_000_000, Target(10, at_least=False, unit="CPU-ms")),
        ("FedAvg, δ reported", "fedavg", 1, None),
        ("L-DAWA", "ldawa", 1_000_000, None),
    ):
        config = experiment(
            model={"encoder": "resnet18"},
            strategy={"name": strategy},
            evaluation={"every": every},
        )
        with idle_server(config, cohort) as server:
            own = [t for t in server.state().values() if t.is_floating_point()]
            copies, sums = list(clone(dict(enumerate(own))).values()), [t.clone() for t in own]

            def floor(
                own: list[torch.Tensor] = own,
                copies: list[torch.Tensor] = copies,
                sums: list[torch.Tensor] = sums,
            ) -> None:
                torch._foreach_copy_(copies, own)
                torch._foreach_add_(sums, copies, alpha=0.5)

            chosen = list(range(cohort))
            figures.append(
                compare(
                    f"client-round without local work, resnet18, {name}",
                    "CPU-ms",
                    lambda train=server.train: (  # type: ignore[misc]
                        cpu_seconds(lambda: train(AFTER_WARMUP, chosen)) / cohort * 1000
                    ),
                    lambda: cpu_seconds(lambda: [floor() for _ in range(cohort)]) / cohort * 1000,
                    times=times,
                    target=target,
                    note="copying in and adding up alone",
                )
            )
    return figures


def memory(cohorts: tuple[int, int]) -> list[Figure]:
    """Measure the peak memory of rounds without local work, with few clients and with many."""
    figures = []
    few, many = cohorts
    for name, strategy in (("FedAvg", "fedavg"), ("L-DAWA", "ldawa")):
        least = in_fresh_process(peak_of_rounds, strategy, few)
        if least is None:
            return [Figure("peak memory", "MB", note="not measured: only Linux tells it")]
        if strategy == "fedavg":
            target = Target(260, at_least=False, unit="MB")
            what = f"peak memory above the imports, resnet18, cohort of {few}, one worker"
            figures.append(Figure(what, "MB", least, target=target))
        most = in_fresh_process(peak_of_rounds, strategy, many)
        assert most is not None
        figures.append(
            Figure(
                f"peak memory with a cohort of {many:,}, {name}",
                "MB",
                most,
                reference=least,
                ratio=most / least,
                target=Target(1.05, at_least=False, of_ratio=True),
                note=f"a cohort of {few}",
            )
        )
    return figures


def peak_of_rounds(strategy: str, cohort: int, encoder: str = "resnet18") -> float | None:
    """Return the peak memory, in MB above the imports, of two rounds without local work."""
    before = resident_mb()
    config = experiment(
        model={"encoder": encoder},
        strategy={"name": strategy},
        evaluation={"every": 1_000_000},
    )
    with idle_server(config, cohort) as server:
        for number in (AFTER_WARMUP, AFTER_WARMUP + 1):
            server.train(number, list(range(cohort)))
    peak = peak_mb()
    return None if peak is None or before is None else peak - before
