"""Blueprints of models for images, as most tests want them."""

from fedssl.config import LearningConfig
from fedssl.data.example_spec import ExampleSpec
from fedssl.models.blueprint import ModelBlueprint


def image_spec(side: int = 32) -> ExampleSpec:
    return ExampleSpec("image", (3, side, side), "uint8")


def blueprint(config: LearningConfig, side: int = 32) -> ModelBlueprint:
    return ModelBlueprint(config, image_spec(side))
