"""A client of Flower's that trains SimCLR, as one is usually written.

Torchvision's transforms on a PIL image at a time, a `DataLoader`, and a new model, loader and
optimiser for each message. Model and loss are fedssl's, so that the mathematics is the same. For
speed, all processes map one file of images into their memory, and the loader has no workers:
clients run on every core already, and starting a worker takes longer than a small client does.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.image.data.config import ImageData
from fedssl.models.blueprint import ModelBlueprint
from fedssl.objectives import Batch
from fedssl.training.optimizers import build_optimizer, learning_rate
from fedssl.views.step import Step
from simulations.settings.experiment import Experiment
from simulations.setup.prepare import Prepared


def check(prepared: Prepared) -> None:
    """Refuse what this client does not do, or what would not be the same work in Flower.

    Raises
    ------
    ValueError
        Names the field, its value, and a fix.
    """
    experiment = prepared.experiment
    client = experiment.client
    for field, value, wanted in (
        ("objective.name", experiment.objective.name, "simclr"),
        ("strategy.name", experiment.strategy.name, "fedavg"),
        ("engine.device", experiment.engine.device, "cpu"),
        ("client.local_steps", client.local_steps, None),
        ("client.optimizer_state", client.optimizer_state, "fresh"),
        ("client.clip_norm", client.clip_norm, None),
    ):
        if value != wanted:
            raise ValueError(
                f"{field} = {value}: the experiment that is compared with Flower needs "
                f"{'null' if wanted is None else wanted}"
            )
    if unknown := [step.name for step in experiment.views if not _is_known(step)]:
        raise ValueError(
            f"views: the experiment that is compared with Flower needs {', '.join(_TRANSFORMS)} "
            f"alone, of the image's side and the same for both views; {unknown[0]} is another"
        )
    sizes = prepared.partition.sizes()
    if experiment.participation < 1 and sizes.min() < sizes.max():
        raise ValueError(
            f"participation = {experiment.participation}: Flower draws other cohorts, which is the "
            f"same work only if all clients are of one size, but they have {sizes.min()} to "
            f"{sizes.max()} images; use partition.name=iid and a data.limit.train that "
            f"{len(sizes)} divides"
        )


def make_client_app(prepared: Prepared, file: Path) -> ClientApp:
    """Write the clients' images to a file, and make the ClientApp that trains on them.

    Parameters
    ----------
    prepared : Prepared
        Of an experiment that `check` lets pass.
    file : Path
        To be written: uint8 [N, H, W, 3], a client's images after another's.
    """
    experiment, partition = prepared.experiment, prepared.partition
    images = prepared.splits.train.examples[torch.from_numpy(partition.order)]
    np.save(file, images.permute(0, 2, 3, 1).numpy())
    offsets = partition.offsets.tolist()
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        began = time.monotonic()
        client = int(context.node_config["partition-id"])
        images = np.load(file, mmap_mode="r")[offsets[client] : offsets[client + 1]]
        arrays = message.content.array_records["arrays"]
        server_round = int(str(message.content.config_records["config"]["server-round"]))
        trained, loss = fit(experiment, images, arrays.to_torch_state_dict(), server_round)
        metrics = MetricRecord({"num-examples": len(images), "train-loss": loss, "began": began})
        content = RecordDict({"arrays": ArrayRecord(trained), "metrics": metrics})
        return Message(content, reply_to=message)

    return app


def fit(
    experiment: Experiment, images: np.ndarray, state: dict[str, Tensor], server_round: int
) -> tuple[dict[str, Tensor], float]:
    """Train a model on a client's images.

    Parameters
    ----------
    experiment : Experiment
        What is learned, and how.
    images : np.ndarray
        uint8 [n, H, W, 3].
    state : dict[str, Tensor]
        The global model.
    server_round : int
        From 1; it decides the learning rate.

    Returns
    -------
    tuple[dict[str, Tensor], float]
        The trained model, and the mean loss over all images seen.
    """
    config = experiment.client
    side = images.shape[1]
    model = ModelBlueprint(experiment, ExampleSpec("image", (3, side, side), "uint8")).build()
    model.load_state_dict(state)
    model.train()
    lr = learning_rate(config, server_round, experiment.rounds)
    optimizer = build_optimizer(model.parameters(), config.model_copy(update={"lr": lr}))
    loader = DataLoader(
        _TwoViews(images, _augmentation(experiment, side)),
        batch_size=config.batch_size,
        shuffle=True,
    )
    total, seen = 0.0, 0
    for _ in range(config.local_epochs or 1):
        for views in loader:
            count = len(views[0])
            if count < model.minimum_batch:
                continue
            loss = model(Batch(views, torch.arange(count)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * count
            seen += count
    return model.state_dict(), total / seen


def _crop(step: Any, side: int) -> object:
    return transforms.RandomResizedCrop(side, scale=step.scale, ratio=step.ratio)


def _jitter(step: Any, side: int) -> object:
    jitter = transforms.ColorJitter(step.brightness, step.contrast, step.saturation, step.hue)
    return transforms.RandomApply([jitter], step.probability)


_TRANSFORMS: dict[str, Callable[[Any, int], object]] = {
    "crop": _crop,
    "flip": lambda step, _: transforms.RandomHorizontalFlip(step.probability),
    "jitter": _jitter,
    "grayscale": lambda step, _: transforms.RandomGrayscale(step.probability),
}
"""What makes torchvision's transform of a step of ``views``, and of the images' side."""


def _is_known(step: Step) -> bool:
    same = step.is_for(1) and step.is_for(2) and getattr(step, "side", 1) == 1
    return step.name in _TRANSFORMS and same


def _augmentation(experiment: Experiment, side: int) -> transforms.Compose:
    steps = [_TRANSFORMS[step.name](step, side) for step in experiment.views]
    data = cast(ImageData, experiment.data)
    normalise = transforms.Normalize(data.mean, data.std)
    return transforms.Compose([*steps, transforms.ToTensor(), normalise])


class _TwoViews(Dataset[tuple[Tensor, Tensor]]):
    """Images [n, H, W, 3] of which each gives two views [3, H, W]."""

    def __init__(self, images: np.ndarray, augmentation: transforms.Compose):
        self._images = images
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = Image.fromarray(self._images[index])
        return self._augmentation(image), self._augmentation(image)
