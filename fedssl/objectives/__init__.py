"""The objectives: what a client minimises. One file each, found by name in `OBJECTIVES`."""

from collections.abc import Sequence
from typing import cast

from pydantic import ConfigDict
from torch import nn

from fedssl.base.fields import DottedPath
from fedssl.base.registry import Registry
from fedssl.modalities.base import Modality
from fedssl.objectives.all4one import All4One
from fedssl.objectives.barlow import BarlowTwins
from fedssl.objectives.base import Objective, ObjectiveConfig
from fedssl.objectives.batch import Batch
from fedssl.objectives.byol import BYOL
from fedssl.objectives.cacr import CACR
from fedssl.objectives.dcl import DCL
from fedssl.objectives.dclw import DCLW
from fedssl.objectives.diet import DIET
from fedssl.objectives.dino import DINO
from fedssl.objectives.directpred import DirectPred
from fedssl.objectives.mae import MAE
from fedssl.objectives.mixed_barlow import MixedBarlowTwins
from fedssl.objectives.moco import MoCo
from fedssl.objectives.mv_dhel import MVDHEL
from fedssl.objectives.mv_infonce import MVInfoNCE
from fedssl.objectives.nnclr import NNCLR
from fedssl.objectives.pal import PAL
from fedssl.objectives.simclr import SimCLR
from fedssl.objectives.simsiam import SimSiam
from fedssl.objectives.supervised import Supervised
from fedssl.objectives.term import TermConfig
from fedssl.objectives.terms import TERMS
from fedssl.objectives.vicreg import VICReg
from fedssl.objectives.w_mse import WMSE

__all__ = [
    "OBJECTIVES",
    "TERMS",
    "Batch",
    "CustomObjectiveConfig",
    "Objective",
    "ObjectiveConfig",
    "build",
]


class CustomObjectiveConfig(ObjectiveConfig):
    """An objective of your own, by its dotted path; further fields go to its class as they are.

    Examples
    --------
    >>> CustomObjectiveConfig(name="my_module.Same", weight=2.0).model_extra
    {'weight': 2.0}
    """

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path."""


OBJECTIVES = Registry(
    "objective",
    "fedssl.objectives",
    Objective,
    SimCLR,
    DCL,
    DCLW,
    MoCo,
    NNCLR,
    All4One,
    CACR,
    MVInfoNCE,
    MVDHEL,
    BYOL,
    DirectPred,
    SimSiam,
    DINO,
    BarlowTwins,
    MixedBarlowTwins,
    VICReg,
    WMSE,
    DIET,
    MAE,
    PAL,
    Supervised,
    custom=CustomObjectiveConfig,
)
"""The objectives by name."""


def build(
    config: ObjectiveConfig, encoder: nn.Module, projector: Sequence[int], modality: Modality
) -> Objective:
    """Build the objective that a config names.

    Parameters
    ----------
    config : ObjectiveConfig
        The ``objective`` section. A custom class that has its own ``Config`` gets an instance of
        it, made from the section's fields; one that has none gets the section itself.
    encoder : nn.Module
        Maps prepared examples [B, …] to features [B, ``encoder.features``].
    projector : Sequence[int]
        The widths of the projector's layers; empty for none.
    modality : Modality
        What the examples are.

    Raises
    ------
    ValueError
        There is no such objective, the dotted path names no `Objective`, a field is wrong, or the
        examples or the encoder lack what the objective or a term needs.

    Examples
    --------
    >>> from fedssl.modalities import MODALITIES
    >>> encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    >>> encoder.features = 4
    >>> objective = build(SimCLR.Config(temperature=0.2), encoder, [8, 2], MODALITIES["image"])
    >>> type(objective).__name__, objective.views_in_all
    ('SimCLR', 2)
    """
    objective_class, objective_config = OBJECTIVES.resolve(config, "objective")
    objective_class.check_fits(encoder, modality)
    objective = objective_class(encoder, projector, cast(ObjectiveConfig, objective_config))
    # Last, so that the objective's own initial weights are the same with and without them.
    for term in config.terms:
        term_class, term_config = TERMS.resolve(term, "objective.terms")
        features = cast(int, objective.encoder.features)
        objective.terms.append(
            term_class(cast(TermConfig, term_config), config.name, features, modality)
        )
    return objective
