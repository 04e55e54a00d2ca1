"""The objectives: what a client minimises. One file each, found by name in `OBJECTIVES`."""

from collections.abc import Sequence
from typing import cast

from pydantic import ConfigDict, ValidationError
from torch import nn

from fedssl.dotted import load_dotted
from fedssl.fields import Choice, Dotted, nearest
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
from fedssl.objectives.terms import TERMS
from fedssl.objectives.vicreg import VICReg
from fedssl.objectives.w_mse import WMSE

__all__ = [
    "OBJECTIVES",
    "TERMS",
    "Batch",
    "CustomObjectiveConfig",
    "Objective",
    "ObjectiveChoice",
    "ObjectiveConfig",
    "build",
]

OBJECTIVES: dict[str, type[Objective]] = {
    "simclr": SimCLR,
    "dcl": DCL,
    "dclw": DCLW,
    "moco": MoCo,
    "nnclr": NNCLR,
    "all4one": All4One,
    "cacr": CACR,
    "mv-infonce": MVInfoNCE,
    "mv-dhel": MVDHEL,
    "byol": BYOL,
    "directpred": DirectPred,
    "simsiam": SimSiam,
    "dino": DINO,
    "barlow": BarlowTwins,
    "mixed-barlow": MixedBarlowTwins,
    "vicreg": VICReg,
    "w-mse": WMSE,
    "diet": DIET,
    "mae": MAE,
    "pal": PAL,
    "supervised": Supervised,
}


class CustomObjectiveConfig(ObjectiveConfig):
    """An objective of your own, by its dotted path; further fields go to its class as they are."""

    model_config = ConfigDict(extra="allow")

    name: Dotted
    """The dotted path."""


ObjectiveChoice = Choice({n: c.Config for n, c in OBJECTIVES.items()}, CustomObjectiveConfig)


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
    """
    objective = _build(config, encoder, projector, modality)
    # Last, so that the objective's own initial weights are the same with and without them.
    for term in config.terms:
        features = cast(int, objective.encoder.features)
        objective.terms.append(TERMS[term.name](term, config.name, features, modality))
    return objective


def _build(
    config: ObjectiveConfig, encoder: nn.Module, projector: Sequence[int], modality: Modality
) -> Objective:
    if "." not in config.name:
        if config.name not in OBJECTIVES:
            hint = nearest(config.name, list(OBJECTIVES))
            raise ValueError(f"objective.name = {config.name}: there is no such objective; {hint}")
        named = OBJECTIVES[config.name]
        named.check_fits(encoder, modality)
        return named(encoder, projector, config)
    custom = load_dotted(config.name)
    if not (isinstance(custom, type) and issubclass(custom, Objective)):
        raise ValueError(
            f"objective.name = {config.name}: must be a subclass of fedssl.objectives.Objective"
        )
    own = getattr(custom, "Config", None)
    if own is not None:
        try:
            config = own.model_validate(config.model_dump())
        except ValidationError as error:
            problems = "; ".join(
                f"objective.{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}"
                for e in error.errors()
            )
            raise ValueError(problems) from None
    custom.check_fits(encoder, modality)
    return custom(encoder, projector, config)
