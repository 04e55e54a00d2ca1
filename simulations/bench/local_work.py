"""The cost of local work: views, and a local update against a bare loop."""

from collections.abc import Callable

import torch
from PIL import Image
from torchvision import transforms

from fedssl.base.allocator import keep_freed_memory
from fedssl.base.seeding import generator
from fedssl.evaluation.parallel import one_thread
from fedssl.model_state import clone, federated_state
from fedssl.objectives import Batch
from fedssl.training.optimizers import build_optimizer
from simulations.bench.measurement import Measurement, Target
from simulations.bench.setting import blueprint, experiment, images, worker
from simulations.bench.timing import compare, cpu_seconds


def views(count: int, times: int) -> list[Measurement]:
    """Measure SimCLR's views of 32×32 images against torchvision's transforms of PIL images."""
    keep_freed_memory()
    ours = _batches_of_views(count)
    few = [Image.fromarray(i) for i in images(count // 10).permute(0, 2, 3, 1).numpy()]
    theirs = transforms.Compose(
        [
            transforms.RandomResizedCrop(32, scale=(0.2, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            transforms.RandomGrayscale(0.2),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )

    def reference() -> None:
        for image in few:
            theirs(image)
            theirs(image)

    with one_thread():
        return [
            compare(
                "SimCLR views of 32×32, one thread",
                "views per CPU-s",
                lambda: 2 * count / cpu_seconds(ours),
                lambda: 2 * len(few) / cpu_seconds(reference),
                times=times,
                target=Target(20_000, at_least=True, unit="views per CPU-s"),
                note="torchvision's transforms of PIL images",
            )
        ]


def views_per_cpu_second(count: int) -> float:
    """Return the number of SimCLR views of 32×32 images that our recipe makes per CPU second."""
    keep_freed_memory()
    ours = _batches_of_views(count)
    with one_thread():
        ours()
        return 2 * count / cpu_seconds(ours)


def _batches_of_views(count: int) -> Callable[[], None]:
    """Return a function that makes two views of each of ``count`` images, 256 at a time."""
    shown = images(count)
    recipe = blueprint(experiment(views="simclr")).views
    rng = generator(0, "bench views")

    def work() -> None:
        for batch in torch.split(shown, 256):
            recipe(batch, rng)
            recipe(batch, rng)

    return work


def local_update(encoder: str, count: int, batch_size: int, times: int) -> list[Measurement]:
    """Measure a whole local update against a bare loop of torch with views made beforehand."""
    keep_freed_memory()
    config = experiment(model={"encoder": encoder}, client={"batch_size": batch_size})
    shown = images(count)
    labels = torch.full((count,), -1)
    resident = worker(config)
    received = clone(federated_state(resident.objective))
    objective = blueprint(config).build()
    optimizer = build_optimizer(objective.parameters(), config.client)
    recipe = resident.blueprint.views
    rng = generator(0, "bench views")
    batches = [
        Batch([recipe(rows, rng) for _ in range(2)], torch.arange(len(rows)))
        for rows in torch.split(shown, batch_size)
    ]

    def bare() -> None:
        for batch in batches:
            loss = objective(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def update() -> None:
        resident.run(shown, labels, received, {}, client=0, server_round=1)

    with one_thread():
        return [
            compare(
                f"a whole local update, {encoder}, batches of {batch_size}",
                "images per CPU-s",
                lambda: count / cpu_seconds(update),
                lambda: count / cpu_seconds(bare),
                times=times,
                target=Target(0.92 if encoder == "resnet18" else 0.75, True, of_ratio=True),
                note="a bare loop of torch, views made beforehand",
            )
        ]
