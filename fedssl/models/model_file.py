"""Write and read ``model.safetensors``, a trained model with what is needed to rebuild it."""

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
    check_same_layout,
    copy_into,
    federated_state,
    load_state,
    save_state,
)
from fedssl.models.blueprint import ModelBlueprint
from fedssl.networks.encoder import EncoderConfig, build_from_section
from fedssl.networks.norms import use_group_norm
from fedssl.objectives import Objective

Constants = dict[
    Annotated[str, Field(max_length=100)], Annotated[tuple[Number, ...], Field(max_length=10_000)]
]


@dataclass(frozen=True)
class ModelDescription:
    """A model's description in its file: what is needed to rebuild and use its encoder."""

    example: ExampleSpec
    """The modality, shape and type of the stored training examples."""
    prepared: ExampleSpec
    """The modality, shape and type of the encoder's inputs."""
    constants: Constants
    """The constants of the preparation, such as an image's mean and deviation by channel."""
    fields: dict[str, Any]
    """The ``model`` section of the experiment's config."""
    objective: str
    """The name of the objective."""

    @cached_property
    def modality(self) -> Modality:
        """The examples' modality.

        Raises
        ------
        ValueError
            It is not one of `MODALITIES`: a file never decides which code is run.
        """
        if "." in self.example.modality:
            raise ValueError(
                f"its examples are of {self.example.modality}, which no installed package adds: "
                "add it by an entry point, or in Python pass load_encoder(path, encoder=...)"
            )
        return MODALITIES.find(self.example.modality)

    @cached_property
    def model(self) -> ModelConfig:
        """The ``model`` section; only the name is read of an encoder that fedssl does not know."""
        fields = self.fields
        if not self.has_known_encoder:
            fields = {**fields, "encoder": EncoderConfig(name=self.encoder)}
        return self.modality.model.model_validate(fields)

    @property
    def encoder(self) -> str:
        """The name of the encoder in the file."""
        section = self.fields.get("encoder")
        name = section.get("name") if isinstance(section, Mapping) else section
        if not isinstance(name, str):
            raise ValueError("it does not say what its encoder is")
        return name

    @cached_property
    def has_known_encoder(self) -> bool:
        """Whether the encoder is built into fedssl or comes from a library that fedssl supports."""
        modality = self.example.modality
        return "." not in modality and self.modality.encoders.builtin(self.encoder) is not None

    def encoder_in(self, state: State) -> State:
        """Return the encoder's tensors of a model, without ``encoder.`` in their names."""
        prefix = "encoder."
        return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}

    def blank(self, count: int) -> Tensor:
        """Return prepared examples that are all zeros, for a test of the encoder."""
        return self.prepared.blank(count)

    def to_json(self) -> str:
        """Return the JSON that the file's metadata holds under ``fedssl``."""
        return json.dumps(asdict(self))


_DESCRIPTION = TypeAdapter(ModelDescription)


def save_model(path: Path, objective: Objective, blueprint: ModelBlueprint) -> None:
    """Write an encoder and its projector to a file, with the model's description.

    Parameters
    ----------
    path : Path
        The file, which is replaced atomically.
    objective : Objective
        The model with the encoder and the projector.
    blueprint : ModelBlueprint
        The blueprint of the model; the description is JSON under ``fedssl`` in the metadata.
    """
    state, about = describe_model(objective, blueprint)
    save_state(path, state, {"fedssl": about.to_json()})


def describe_model(
    objective: Objective, blueprint: ModelBlueprint
) -> tuple[State, ModelDescription]:
    """Return the tensors and the description that `save_model` writes."""
    state = {
        name: tensor
        for name, tensor in federated_state(objective).items()
        if name.startswith(("encoder.", "projector."))
    }
    preparation = blueprint.preparation
    about = ModelDescription(
        example=blueprint.spec,
        prepared=preparation.spec_of(blueprint.spec),
        constants=dict(preparation.constants),
        fields=blueprint.config.model.model_dump(mode="json", exclude={"init"}),
        objective=blueprint.config.objective.name,
    )
    return state, about


def read_model(path: str | Path) -> tuple[State, ModelDescription]:
    """Read a run's model: its tensors, named as in the objective, and its description.

    Parameters
    ----------
    path : str | Path
        A run folder, or its ``model.safetensors``.

    Raises
    ------
    ValueError
        The file is not a model of fedssl.
    """
    file = _file(path)
    if not os.path.lexists(file):
        raise ValueError(f"{file}: there is no such file; a run writes it when it is finished")
    try:
        state, metadata = load_state(file)
        if "fedssl" not in metadata:
            raise ValueError("it does not say what the model is")
        values = json.loads(metadata["fedssl"])
        about = _DESCRIPTION.validate_python(_upgrade(values) if "image_size" in values else values)
        if "." not in about.example.modality:
            _check_description(about)
    except Exception as error:
        raise ValueError(f"{file}: is not a model that fedssl wrote: {error}") from error
    return state, about


def _check_description(about: ModelDescription) -> None:
    """Raise an error if the ``model`` section or the examples' shape is not valid."""
    _ = about.model
    dimensions = about.modality.dimensions
    if len(about.example.shape) != dimensions or about.prepared.modality != about.example.modality:
        raise ValueError(
            f"its examples have the shape {list(about.example.shape)}, and "
            f"{about.modality.noun[1]} have {dimensions} dimension(s)"
        )


def _upgrade(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a file from a version in which every example was an image."""
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

    With a finished run in ``runs/my-run``::

        encoder = load_encoder("runs/my-run")
        features = encoder(images)  # normalised images, float32 [B, 3, H, W]

    Parameters
    ----------
    path : str | Path
        A run folder, or its ``model.safetensors``.
    encoder : nn.Module | None
        The network that gets the weights, with GroupNorm if ``model.norm`` was group. It is needed
        only if fedssl cannot build it: a file never decides which code is run.

    Returns
    -------
    nn.Module
        The encoder, in eval mode, on the CPU. It maps prepared examples, such as images float32
        [B, 3, H, W] normalised by the experiment's ``data.mean`` and ``data.std``, to features
        [B, ``features``].

    Raises
    ------
    ValueError
        The file is not a model of fedssl, or holds another network.
    """
    state, about = read_model(path)
    try:
        return rebuild_encoder(state, about, encoder)
    except ValueError as error:
        raise ValueError(f"{_file(path)}: {error}") from error


def rebuild_encoder(
    state: State, about: ModelDescription, encoder: nn.Module | None = None
) -> nn.Module:
    """Return a model's encoder; see `load_encoder`."""
    weights = about.encoder_in(state)
    if encoder is None:
        # An unknown modality raises its own error.
        if about.modality.encoders.builtin(about.encoder) is None:
            raise ValueError(
                f"holds a {about.encoder}, which fedssl cannot build: pass one as "
                "load_encoder(path, encoder=...)"
            )
        _check_size(weights, about)
        encoder = _build(about)
    copy_into(encoder.state_dict(), weights)
    return encoder.eval()


def _build(about: ModelDescription) -> nn.Module:
    encoder = build_from_section(about.modality.encoders, about.model.encoder, about.example)
    return use_group_norm(encoder) if about.model.norm == "group" else encoder


def _check_size(weights: State, about: ModelDescription) -> None:
    """Check that a network has the file's tensors, before it takes memory: it may be huge.

    Raises
    ------
    ValueError
        The network has other tensors.
    """
    try:
        with torch.device("meta"):
            planned = _build(about).state_dict()
    # Some networks of timm cannot be built without memory.
    except (RuntimeError, NotImplementedError):
        return
    check_same_layout(planned, weights)
