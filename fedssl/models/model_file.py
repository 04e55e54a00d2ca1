"""The file of a trained model, ``model.safetensors``, which says how to rebuild the encoder."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter
from torch import Tensor, nn

from fedssl.base.fields import Number
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities import MODALITIES, Modality
from fedssl.modalities.model_config import ModelConfig
from fedssl.model_state import (
    State,
    check_same,
    copy_into,
    federated_state,
    load_state,
    save_state,
)
from fedssl.models.blueprint import ModelBlueprint
from fedssl.networks.encoder import EncoderConfig, build
from fedssl.networks.norms import use_group_norm
from fedssl.objectives import Objective

Constants = dict[
    Annotated[str, Field(max_length=100)], Annotated[tuple[Number, ...], Field(max_length=10_000)]
]


@dataclass(frozen=True)
class About:
    """What is needed to use a model file."""

    example: ExampleSpec
    """What the examples are that it was trained on, as they are stored."""
    prepared: ExampleSpec
    """What its encoder takes."""
    constants: Constants
    """By what examples are prepared: an image's mean and spread by channel, say."""
    fields: dict[str, Any]
    """The ``model`` section of its config."""
    objective: str
    """As in the config."""

    @cached_property
    def modality(self) -> Modality:
        """Of its examples.

        Raises
        ------
        ValueError
            It is none of `MODALITIES`: a file never decides which code is run.
        """
        if "." in self.example.modality:
            raise ValueError(
                f"its examples are of {self.example.modality}, which no installed package adds: "
                "add it by an entry point, or in Python pass load_encoder(path, encoder=...)"
            )
        return MODALITIES.find(self.example.modality)

    @cached_property
    def model(self) -> ModelConfig:
        """The ``model`` section; of an encoder that is not fedssl's, the name alone is read."""
        fields = self.fields
        if not self.is_known:
            fields = {**fields, "encoder": EncoderConfig(name=self.encoder)}
        return self.modality.model.model_validate(fields)

    @property
    def encoder(self) -> str:
        """What the file says that its encoder is called."""
        section = self.fields.get("encoder")
        name = section.get("name") if isinstance(section, Mapping) else section
        if not isinstance(name, str):
            raise ValueError("it does not say what its encoder is")
        return name

    @cached_property
    def is_known(self) -> bool:
        """Whether its encoder's name stands for code of fedssl's or of a library it knows."""
        modality = self.example.modality
        return "." not in modality and self.modality.encoders.own(self.encoder) is not None

    def encoder_in(self, state: State) -> State:
        """Return a model's tensors that are the encoder's, by its own names."""
        prefix = "encoder."
        return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}

    def blank(self, count: int) -> Tensor:
        """Return prepared examples that are all zeros: to try the encoder on."""
        return self.prepared.blank(count)

    def to_json(self) -> str:
        """Return it as a file's metadata holds it, under ``fedssl``."""
        return json.dumps(asdict(self))


_ABOUT = TypeAdapter(About)


def save_model(path: Path, objective: Objective, blueprint: ModelBlueprint) -> None:
    """Write the encoder's and the projector's tensors, with what is needed to use them.

    Parameters
    ----------
    path : Path
        The file, replaced as a whole.
    objective : Objective
        Holds both.
    blueprint : ModelBlueprint
        What it was built by; it goes into the file's metadata, as JSON under ``fedssl``.
    """
    state, about = model_of(objective, blueprint)
    save_state(path, state, {"fedssl": about.to_json()})


def model_of(objective: Objective, blueprint: ModelBlueprint) -> tuple[State, About]:
    """Return what the file of a model holds; see `save_model`."""
    state = {
        name: tensor
        for name, tensor in federated_state(objective).items()
        if name.startswith(("encoder.", "projector."))
    }
    preparation = blueprint.preparation
    about = About(
        example=blueprint.spec,
        prepared=preparation.spec_of(blueprint.spec),
        constants=dict(preparation.constants),
        fields=blueprint.config.model.model_dump(mode="json", exclude={"init"}),
        objective=blueprint.config.objective.name,
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
        values = json.loads(metadata["fedssl"])
        about = _ABOUT.validate_python(_of_images(values) if "image_size" in values else values)
        if "." not in about.example.modality:
            _check_about(about)
    except Exception as error:
        raise ValueError(f"{file}: is not a model that fedssl wrote: {error}") from error
    return state, about


def _check_about(about: About) -> None:
    """Refuse a wrong section of the model, or examples that the modality does not have."""
    _ = about.model
    dimensions = about.modality.dimensions
    if len(about.example.shape) != dimensions or about.prepared.modality != about.example.modality:
        raise ValueError(
            f"its examples have the shape {list(about.example.shape)}, and "
            f"{about.modality.noun[1]} have {dimensions} dimension(s)"
        )


def _of_images(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says that was written when every example was an image."""
    side = old["image_size"]
    shape = [3, side, side]
    return {
        "example": {"modality": "image", "shape": shape, "dtype": "uint8"},
        "prepared": {"modality": "image", "shape": shape, "dtype": "float32"},
        "constants": {"mean": old["mean"], "std": old["std"]},
        "fields": {
            "encoder": old["encoder"],
            "projector": old["projector"],
            "norm": old.get("norm", "batch"),
            "stem": old["stem"],
        },
        "objective": old["objective"],
    }


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
        it is neither fedssl's nor a library's: a file never decides which code is run.

    Returns
    -------
    nn.Module
        In eval mode, on the CPU. It maps prepared examples, such as images float32 [B, 3, H, W]
        normalised by the experiment's ``data.mean`` and ``data.std``, to features
        [B, ``features``].

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
    weights = about.encoder_in(state)
    if encoder is None:
        # That of an unknown modality says so.
        if about.modality.encoders.own(about.encoder) is None:
            raise ValueError(
                f"holds a {about.encoder}, which is not fedssl's: make one and pass it as "
                "load_encoder(path, encoder=...)"
            )
        _check_size(weights, about)
        encoder = _build(about)
    copy_into(encoder.state_dict(), weights)
    return encoder.eval()


def _build(about: About) -> nn.Module:
    encoder = build(about.modality.encoders, about.model.encoder, about.example)
    return use_group_norm(encoder) if about.model.norm == "group" else encoder


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
