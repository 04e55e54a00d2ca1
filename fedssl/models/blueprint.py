"""The blueprint of a model: all that is needed to build it, made once for an experiment."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from fedssl.base import allocator
from fedssl.base.seeding import initialising
from fedssl.config import LearningConfig
from fedssl.data import Dataset
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities import Modality, Preparation, ViewPolicy, modality_of, spec_of
from fedssl.model_state import ModelParts, adopt, clone, count_bytes, model_parts, split_state
from fedssl.models.warm_start import warm_start
from fedssl.networks import encoder as encoders
from fedssl.networks.norms import use_group_norm
from fedssl.objectives import Objective, build


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model once it was built."""

    parts: ModelParts
    """What the names of its tensors mean."""
    bytes: int
    """The size of all its tensors."""
    views: int
    """How many views of each example a local step takes."""
    minimum_batch: int
    """The fewest examples that a step makes sense with."""


@dataclass(frozen=True)
class ModelBlueprint:
    """How to build an experiment's model, and what follows from that.

    Examples
    --------
    >>> blueprint = ModelBlueprint.of(config, splits.train)
    >>> objective = blueprint.build()
    >>> features = objective.encoder(blueprint.preparation(splits.train.fetch()))
    """

    config: LearningConfig
    """The experiment's learning."""
    spec: ExampleSpec
    """What its examples are, as they are stored."""

    @classmethod
    def of(cls, config: LearningConfig, dataset: Dataset) -> "ModelBlueprint":
        """Return the blueprint of a model that learns from a loaded data set."""
        return cls(config, spec_of(config.data, dataset))

    @cached_property
    def modality(self) -> Modality:
        """Of the examples."""
        return modality_of(self.config.data)

    @property
    def is_known(self) -> bool:
        """Whether its encoder's name stands for code of fedssl's or of a library it knows."""
        own = self.modality.encoders.own(self.config.model.encoder.name)
        return own is not None and "." not in self.spec.modality

    @cached_property
    def preparation(self) -> Preparation:
        """Turns stored examples into what the encoder takes."""
        return self.modality.preparation(self.config.data)

    @cached_property
    def views(self) -> ViewPolicy:
        """Makes the views that the clients train on."""
        return self.modality.views(self.config.views, self.config.data)

    @cached_property
    def weak_views(self) -> ViewPolicy:
        """Makes views that alter examples little: what probes are fitted on."""
        policy = self.modality.view_policies[self.modality.weak_policy]
        return self.modality.views(policy.steps, self.config.data)

    def build(self) -> Objective:
        """Build the objective with its encoder and heads, on the CPU.

        Its weights derive from the seed alone, but for those of an encoder that ``model.init``
        gives.

        Raises
        ------
        ValueError
            Something that the config names does not fit; see also `warm_start`.
        """
        model = self.config.model
        with initialising(self.config.seed):
            encoder = self.build_encoder()
            if model.init is not None:
                warm_start(encoder, model.init)
            objective = build(self.config.objective, encoder, model.projector, self.modality)
        if model.norm == "group":
            use_group_norm(objective)
        # Into one block of memory, as all models are, which is used again once this one is let go.
        adopt(objective, *map(clone, split_state(objective)))
        # What the parts were built in lies free between what stays, and no block fits into it.
        allocator.give_back()
        return objective

    def build_encoder(self) -> nn.Module:
        """Build the encoder alone with torch's global generator (see `seeding.initialising`)."""
        return encoders.build(self.modality.encoders, self.config.model.encoder, self.spec)

    @cached_property
    def facts(self) -> ModelFacts:
        """What is known of the model once it was built."""
        return self.note(self.build())

    def note(self, objective: Objective) -> ModelFacts:
        """Return what is known of a model that was just built, and keep it as `facts`."""
        facts = ModelFacts(
            model_parts(objective),
            count_bytes(objective.state_dict()),
            objective.views_in_all,
            objective.minimum_batch,
        )
        # So that it is not built again to be looked at.
        self.__dict__["facts"] = facts
        return facts

    @torch.no_grad()
    def try_out(self) -> Objective:
        """Build the objective, and show its encoder examples and views that are all zeros.

        Returns
        -------
        Objective
            In eval mode.

        Raises
        ------
        ValueError
            It cannot be built, or its encoder does not take such examples or views.
        """
        objective = self.build().eval()
        facts, name = self.note(objective), self.config.model.encoder.name
        features = objective.encoder(self.preparation.spec_of(self.spec).blank(2))
        if features.shape != (2, objective.encoder.features):
            raise ValueError(
                f"model.encoder = {name}: gives {list(features.shape)} for two "
                f"{self.modality.noun[1]}, not [2, {objective.encoder.features}]"
            )
        of_views = (self.views.spec_of(self.spec, view) for view in range(1, facts.views + 1))
        numbers = {spec.shape: (spec, view) for view, spec in enumerate(of_views, start=1)}
        for spec, view in numbers.values():
            try:
                objective.encoder(spec.blank(2))
            except (RuntimeError, ValueError, AssertionError) as error:
                raise ValueError(
                    f"views: view {view} has the shape {list(spec.shape)}, which {name} does not "
                    f"take; change its steps: {error}"
                ) from error
        return objective
