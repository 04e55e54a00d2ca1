"""The learning part of an experiment's config, which clients and the evaluation need."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from fedssl.base.fields import Fields, Number
from fedssl.data import DataConfig
from fedssl.evaluation import EvaluationConfig
from fedssl.modalities import DATA_SETS, MODEL, VIEWS, ModelConfig, modality_of
from fedssl.objectives import OBJECTIVES, ObjectiveConfig
from fedssl.partitions import PARTITIONS, PartitionConfig
from fedssl.views.step import Step


class ClientConfig(Fields):
    """The ``client`` section: how a client trains in a round."""

    local_epochs: PositiveInt | None = None
    """Passes over the client's examples in a round; 1 where local_steps is not given either."""
    local_steps: PositiveInt | None = None
    """Optimiser steps in a round, in place of local_epochs."""
    batch_size: PositiveInt = 256
    """Examples in a step; a client with fewer trains on all that it has."""
    optimizer: Literal["sgd", "adam", "adamw", "lars"] = "sgd"
    """The optimiser."""
    lr: Number = Field(0.1, ge=0)
    """The learning rate."""
    momentum: Number = Field(0.9, ge=0, lt=1)
    """Momentum of sgd and lars."""
    nesterov: bool = False
    """Nesterov's momentum, for sgd and lars."""
    weight_decay: Number = Field(5e-4, ge=0)
    """Weight decay: an L2 term, but decoupled in adamw."""
    schedule: Literal["constant", "cosine"] = "constant"
    """The learning rate over the rounds."""
    warmup_rounds: int = Field(0, ge=0)
    """Rounds over which the learning rate first rises linearly."""
    clip_norm: Number | None = Field(None, gt=0)
    """The largest norm of the gradient; null for no clipping."""
    optimizer_state: Literal["fresh", "kept"] = "fresh"
    """fresh: momentum starts at zero in each round; kept: each client keeps its own."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """bf16: forward pass by autocast, weights stay float32; auto: where the hardware has it."""
    threads: int = Field(1, ge=1, le=256)
    """Intra-op CPU threads of a local update. It changes the order of sums, and so the bits."""

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: Any) -> Any:
        if isinstance(values, dict):
            epochs, steps = values.get("local_epochs"), values.get("local_steps")
            if epochs is not None and steps is not None:
                raise ValueError(
                    f"local_epochs = {epochs} and local_steps = {steps}: give one of them"
                )
            if epochs is None and steps is None:
                return {**values, "local_epochs": 1}
        return values


def _default_model(valid: dict[str, Any]) -> ModelConfig:
    return modality_of(valid["data"]).model()  # type: ignore[call-arg]


def _default_views(valid: dict[str, Any]) -> tuple[Step, ...]:
    return modality_of(valid["data"]).default_policy


class LearningConfig(Fields):
    """The learning part of an experiment file; other sections are ignored."""

    seed: int = Field(0, ge=0)
    """Every random number derives from it: runs with equal seeds are paired."""
    rounds: PositiveInt = 20
    """How many rounds to run."""
    data: Annotated[DataConfig, DATA_SETS]
    """The examples."""
    partition: Annotated[PartitionConfig, PARTITIONS.choice]
    """How the training examples are shared out to the clients."""
    model: Annotated[ModelConfig, MODEL] = Field(default_factory=_default_model)
    """The encoder and its projector."""
    objective: Annotated[ObjectiveConfig, OBJECTIVES.choice]
    """What the clients minimise."""
    views: Annotated[tuple[Step, ...], VIEWS] = Field(default_factory=_default_views)
    """The random augmentations: steps, or the name of a policy that `fedssl list` prints."""
    client: ClientConfig = ClientConfig()
    """The local update."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """The central evaluation after each round."""

    @model_validator(mode="after")
    def _batch_is_large_enough(self) -> Self:
        if self.objective.name in OBJECTIVES:
            self.check_batch(OBJECTIVES[self.objective.name].minimum_batch)
        return self

    def check_batch(self, minimum: int) -> None:
        """Raise a ValueError if the batch size is below the objective's minimum."""
        if self.client.batch_size < minimum:
            raise ValueError(
                f"client.batch_size = {self.client.batch_size}: {self.objective.name} needs at "
                f"least {minimum} examples in a batch"
            )
