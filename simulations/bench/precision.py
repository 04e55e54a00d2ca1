"""The speed of bf16 on a CPU that supports it, and on a GPU."""

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from fedssl.base.allocator import keep_freed_memory
from fedssl.base.precision import has_native_bf16
from fedssl.evaluation.parallel import one_thread
from fedssl.model_state import clone, federated_state
from fedssl.objectives import Batch
from simulations.bench.measurement import Measurement, Target
from simulations.bench.setting import blueprint, encoder, experiment, images, worker
from simulations.bench.timing import compare, cpu_seconds

PEAKS = {
    "A100": 312e12,
    "A10G": 70e12,
    "L4": 121e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
}
"""The makers' dense bf16 operations per second, keyed by a part of the card's name."""


def on_cpu(batch_size: int, times: int) -> list[Measurement]:
    """Measure forward and backward of ResNet-18 in bf16 against float32."""
    name = "resnet18 forward + backward, bf16 on the CPU"
    target = Target(1.7, at_least=True, of_ratio=True)
    if not has_native_bf16(torch.device("cpu")):
        why = "not measured: this CPU has no avx512_bf16"
        return [Measurement(name, "images per CPU-s", target=target, note=why)]
    keep_freed_memory()
    model = encoder("resnet18")
    shown = torch.randn(batch_size, 3, 32, 32)

    def step(enabled: bool) -> float:
        def work() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                features = model(shown)
            features.float().square().mean().backward()

        return batch_size / cpu_seconds(work)

    with one_thread():
        return [
            compare(
                name,
                "images per CPU-s",
                lambda: step(True),
                lambda: step(False),
                times=times,
                target=target,
                note="float32",
            )
        ]


def on_gpu() -> list[Measurement]:
    """Measure local updates of SimCLR with ResNet-18 in bf16 on the GPU."""
    name = "SimCLR, resnet18, 32×32, bf16 on a GPU"
    rate_target = Target(20_000, at_least=True, unit="views per s")
    share_target = Target(0.25, at_least=True)
    if not torch.cuda.is_available():
        why = "not measured: this machine has no GPU"
        return [
            Measurement(f"{name}, speed", "views per s", target=rate_target, note=why),
            Measurement(f"{name}, share of the card's peak", "", target=share_target, note=why),
        ]
    card = torch.cuda.get_device_name()
    rate, operations = gpu_rate("cuda", "resnet18", count=20_480, batch_size=512)
    peak = next((value for part, value in PEAKS.items() if part in card), None)
    return [
        Measurement(f"{name}, speed", "views per s", rate, target=rate_target, note=card),
        Measurement(
            f"{name}, share of the card's peak",
            "",
            None if peak is None else rate * operations / peak,
            target=share_target,
            note=card if peak else f"not measured: the peak of {card} is unknown",
        ),
    ]


def gpu_rate(device: str, encoder: str, count: int, batch_size: int) -> tuple[float, float]:
    """Return the views per second of a local update in bf16, and the operations per view.

    The images are on the device, as in a run; making the views is part of the time.
    """
    config = experiment(
        model={"encoder": encoder}, client={"batch_size": batch_size, "precision": "bf16"}
    )
    resident = worker(config, device=device)
    shown = images(count).to(device)
    labels = torch.full((count,), -1, device=device)
    received = clone(federated_state(resident.objective))
    rates = []
    for _ in range(3):
        # The update ends by reading the loss, so it waits for the device.
        begin = time.perf_counter()
        resident.run(shown, labels, received, {}, client=0, server_round=1)
        rates.append(2 * count / (time.perf_counter() - begin))
    return max(rates[1:]), _operations_per_view(config.model.encoder.name)


def _operations_per_view(encoder: str) -> float:
    """Count the operations of forward and backward, a multiply and an add as two."""
    objective = blueprint(experiment(model={"encoder": encoder})).build()
    count = 4
    batch = Batch([torch.randn(count, 3, 32, 32) for _ in range(2)], torch.arange(count))
    with FlopCounterMode(display=False) as counter:
        objective(batch).backward()
    return float(counter.get_total_flops()) / (2 * count)
