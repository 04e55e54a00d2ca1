"""The file of a trained model, ``model.safetensors``, which says how to rebuild the encoder."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt, TypeAdapter
from torch import nn

from fedssl.config import LearningConfig
from fedssl.encoders import ENCODERS, build_encoder
from fedssl.fields import Number
from fedssl.libraries import is_of_library
from fedssl.norms import use_group_norm
from fedssl.objectives import Objective
from fedssl.state import State, check_same, copy_into, federated_state, load_state, save_state


@dataclass(frozen=True)
class About:
    """What is needed to use a model file."""

    encoder: str
    """Its name, as in ``model.encoder``."""
    stem: Literal["auto", "cifar", "imagenet"]
    norm: Literal["batch", "group"]
    projector: tuple[PositiveInt, ...]
    objective: str
    """As in the config."""
    image_size: Annotated[int, Field(ge=1, le=8192)]
    """The side, in pixels, of the images that it was trained on."""
    mean: tuple[Number, ...]
    std: tuple[Number, ...]
    """Each channel's constants, by which images were normalised."""

    def to_json(self) -> str:
        """Return it as a file's metadata holds it, under ``fedssl``."""
        return json.dumps(asdict(self))


def save_model(path: Path, objective: Objective, config: LearningConfig, image_size: int) -> None:
    """Write the encoder's and the projector's tensors, with what is needed to use them.

    Parameters
    ----------
    path : Path
        The file, replaced as a whole.
    objective : Objective
        Holds both.
    config : LearningConfig
        Its model and its normalisation go into the file's metadata, as JSON under ``fedssl``.
    image_size : int
        The side, in pixels, of the images that it was trained on.
    """
    state, about = model_of(objective, config, image_size)
    save_state(path, state, {"fedssl": about.to_json()})


def model_of(objective: Objective, config: LearningConfig, image_size: int) -> tuple[State, About]:
    """Return what the file of a model holds; see `save_model`."""
    state = {
        name: tensor
        for name, tensor in federated_state(objective).items()
        if name.startswith(("encoder.", "projector."))
    }
    model = config.model
    about = About(
        encoder=model.encoder,
        stem=model.stem,
        norm=model.norm,
        projector=model.projector,
        objective=config.objective.name,
        image_size=image_size,
        mean=config.data.mean,
        std=config.data.std,
    )
    return state, about


def read_model(path: str | Path) -> tuple[State, About]:
    """Read a run's model: its tensors, named as in the objective, and what they are.

    Parameters
    ----------
    path : str | Path
        A run folder, or its ``model.safetensors``.

    Raises
    ------
    ValueError
        The file is no model of fedssl.
    """
    file = _file(path)
    if not os.path.lexists(file):
        raise ValueError(f"{file}: there is no such file; a run writes it when it is finished")
    try:
        state, metadata = load_state(file)
        if "fedssl" not in metadata:
            raise ValueError("it does not say what the model is")
        about = TypeAdapter(About).validate_python(
            {"norm": "batch", **json.loads(metadata["fedssl"])}
        )
    except Exception as error:
        raise ValueError(f"{file}: is not a model that fedssl wrote: {error}") from error
    return state, about


def _file(path: str | Path) -> Path:
    file = Path(path)
    return file / "model.safetensors" if file.is_dir() else file


def load_encoder(path: str | Path, encoder: nn.Module | None = None) -> nn.Module:
    """Load a trained encoder.

    Parameters
    ----------
    path : str | Path
        A run folder, or its ``model.safetensors``.
    encoder : nn.Module | None
        The network to fill, with its GroupNorms where ``model.norm`` was group; needed only where
        it is neither fedssl's nor torchvision's or timm's: a file never decides which code is run.

    Returns
    -------
    nn.Module
        In eval mode, on the CPU. It maps images, float32 [B, 3, H, W], normalised by the
        experiment's ``data.mean`` and ``data.std``, to features [B, ``features``].

    Raises
    ------
    ValueError
        The file is no model of fedssl, or another network's.
    """
    state, about = read_model(path)
    try:
        return encoder_of(state, about, encoder)
    except ValueError as error:
        raise ValueError(f"{_file(path)}: {error}") from error


def encoder_of(state: State, about: About, encoder: nn.Module | None = None) -> nn.Module:
    """Return the encoder of a model; see `load_encoder`."""
    name = about.encoder
    weights = {n.removeprefix("encoder."): t for n, t in state.items() if n.startswith("encoder.")}
    if encoder is None:
        if name not in ENCODERS and not is_of_library(name):
            raise ValueError(
                f"holds a {name}, which is not fedssl's: make one and pass it as "
                "load_encoder(path, encoder=...)"
            )
        _check_size(weights, about)
        encoder = _build(about)
    copy_into(encoder.state_dict(), weights)
    return encoder.eval()


def _build(about: About) -> nn.Module:
    encoder = build_encoder(about.encoder, about.image_size, about.stem)
    return use_group_norm(encoder) if about.norm == "group" else encoder


def _check_size(weights: State, about: About) -> None:
    """Refuse a file that names a far larger network than it holds, before that takes any memory.

    Raises
    ------
    ValueError
        The network has other tensors.
    """
    try:
        with torch.device("meta"):
            planned = _build(about).state_dict()
    # Some of timm's cannot be built without memory.
    except (RuntimeError, NotImplementedError):
        return
    check_same(planned, weights)
