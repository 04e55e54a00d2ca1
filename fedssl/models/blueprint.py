"""A model's blueprint: all that is needed to build the model of an experiment."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from fedssl.base import allocator
from fedssl.base.seeding import seeded_initialisation
from fedssl.config import LearningConfig
from fedssl.data import Dataset
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities import Modality, Preparation, ViewPolicy, modality_of, spec_of
from fedssl.model_state import (
    TensorRoles,
    clone,
    count_bytes,
    rebind_tensors,
    split_state,
    tensor_roles,
)
from fedssl.models.warm_start import warm_start
from fedssl.networks import encoder as encoders
from fedssl.networks.norms import use_group_norm
from fedssl.objectives import Objective, build


@dataclass(frozen=True)
class ModelFacts:
    """Properties of a model that are known only after it was built."""

    parts: TensorRoles
    """The roles of the model's tensors, by name."""
    bytes: int
    """The size of all tensors in bytes."""
    views: int
    """The number of views of each example in a local step."""
    minimum_batch: int
    """The smallest number of examples in a step."""


@dataclass(frozen=True)
class ModelBlueprint:
    """All that is needed to build an experiment's model, and to prepare examples for it.

    Examples
    --------
        blueprint = ModelBlueprint.of(config, splits.train)
        objective = blueprint.build()
        features = objective.encoder(blueprint.preparation(splits.train.fetch()))
    """

    config: LearningConfig
    """The learning part of the experiment's config."""
    spec: ExampleSpec
    """The modality, shape and type of stored examples."""

    @classmethod
    def of(cls, config: LearningConfig, dataset: Dataset) -> "ModelBlueprint":
        """Return the blueprint of a config's model, for a loaded data set."""
        return cls(config, spec_of(config.data, dataset))

    @cached_property
    def modality(self) -> Modality:
        """The examples' modality."""
        return modality_of(self.config.data)

    @property
    def has_known_encoder(self) -> bool:
        """Whether the encoder is built into fedssl or comes from a library that fedssl supports."""
        builtin = self.modality.encoders.builtin(self.config.model.encoder.name)
        return builtin is not None and "." not in self.spec.modality

    @cached_property
    def preparation(self) -> Preparation:
        """The transformation of stored examples to the encoder's inputs."""
        return self.modality.preparation(self.config.data)

    @cached_property
    def views(self) -> ViewPolicy:
        """The augmentation that makes the views for training."""
        return self.modality.views(self.config.views, self.config.data)

    @cached_property
    def weak_views(self) -> ViewPolicy:
        """The weak augmentation that makes the views on which probes are fitted."""
        policy = self.modality.view_policies[self.modality.weak_policy]
        return self.modality.views(policy.steps, self.config.data)

    def build(self) -> Objective:
        """Build the objective with its encoder and heads, on the CPU.

        All weights derive from the seed alone, except those that ``model.init`` gives.

        Raises
        ------
        ValueError
            Parts of the config do not fit together; see also `warm_start`.
        """
        model = self.config.model
        with seeded_initialisation(self.config.seed):
            encoder = self.build_encoder()
            if model.init is not None:
                warm_start(encoder, model.init)
            objective = build(self.config.objective, encoder, model.projector, self.modality)
        if model.norm == "group":
            use_group_norm(objective)
        # All models are in one block of memory each, which a later model can reuse.
        rebind_tensors(objective, *map(clone, split_state(objective)))
        # The memory in which the parts were built is free now, but too fragmented for a block.
        allocator.return_freed_memory()
        return objective

    def build_encoder(self) -> nn.Module:
        """Build the encoder alone; torch's global generator draws its weights."""
        return encoders.build_from_section(
            self.modality.encoders, self.config.model.encoder, self.spec
        )

    @cached_property
    def facts(self) -> ModelFacts:
        """The model's properties; the model is built if it was not built before."""
        return self.set_facts(self.build())

    def set_facts(self, objective: Objective) -> ModelFacts:
        """Set `facts` to the properties of a model that was built, and return them."""
        facts = ModelFacts(
            tensor_roles(objective),
            count_bytes(objective.state_dict()),
            objective.views_in_all,
            objective.minimum_batch,
        )
        # So that `facts` does not build the model again.
        self.__dict__["facts"] = facts
        return facts

    @torch.no_grad()
    def try_out(self) -> Objective:
        """Build the objective, and run its encoder on examples and views that are all zeros.

        Returns
        -------
        Objective
            The model, in eval mode.

        Raises
        ------
        ValueError
            The model cannot be built, or the encoder does not accept the examples or the views.
        """
        objective = self.build().eval()
        facts, name = self.set_facts(objective), self.config.model.encoder.name
        features = objective.encoder(self.preparation.spec_of(self.spec).blank(2))
        if features.shape != (2, objective.encoder.features):
            raise ValueError(
                f"model.encoder = {name}: gives {list(features.shape)} for two "
                f"{self.modality.noun[1]}, not [2, {objective.encoder.features}]"
            )
        view_specs = (self.views.spec_of(self.spec, view) for view in range(1, facts.views + 1))
        by_shape = {spec.shape: (spec, view) for view, spec in enumerate(view_specs, start=1)}
        for spec, view in by_shape.values():
            try:
                objective.encoder(spec.blank(2))
            except (RuntimeError, ValueError, AssertionError) as error:
                raise ValueError(
                    f"views: view {view} has the shape {list(spec.shape)}, which {name} does not "
                    f"accept; change the steps of the views: {error}"
                ) from error
        return objective
