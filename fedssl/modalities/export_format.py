"""What writes a trained encoder for another tool, where only one modality's encoders fit it."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.model_config import ModelConfig
from fedssl.model_state import State


class DescribedModel(Protocol):
    """What a format knows of the model: `fedssl.models.model_file.ModelDescription` has it."""

    @property
    def example(self) -> ExampleSpec:
        """What the examples are that it was trained on, as they are stored."""

    @property
    def model(self) -> ModelConfig:
        """The ``model`` section of its config."""

    def encoder_in(self, state: State) -> State:
        """Return the encoder's tensors, by its own names."""

    def to_json(self) -> str:
        """Return what a file's metadata says of it."""


ExportFormat = Callable[[State, DescribedModel, Path], str]
"""Writes a model's encoder into a file, and returns the lines of Python that load it."""
