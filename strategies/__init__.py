"""Strategies: how client models are merged; each is a Flower strategy around a pure function."""

import inspect
from typing import cast

from flwr.serverapp.strategy import Strategy

from fedssl.base.registry import Registry
from fedssl.model_state import TensorRoles
from strategies.attack_adaptive import AttackAdaptive
from strategies.base import FoldingStrategy, Stateful
from strategies.bulyan import Bulyan
from strategies.config import CustomStrategyConfig, StrategyConfig
from strategies.elastic import Elastic
from strategies.encoder_only import EncoderOnly
from strategies.fedadagrad import FedAdagrad
from strategies.fedadam import FedAdam
from strategies.fedavg import FedAvg
from strategies.fedavgm import FedAvgM
from strategies.fedbn import FedBN
from strategies.feddyn import FedDyn
from strategies.fedema import FedEMA
from strategies.fedexp import FedExP
from strategies.fedlama import FedLAMA
from strategies.fedlws import FedLWS
from strategies.fednova import FedNova
from strategies.fedprox import FedProx
from strategies.fedu import FedU
from strategies.fedvssl import FedVSSL
from strategies.fedx import FedX
from strategies.fedyogi import FedYogi
from strategies.krum import Krum
from strategies.layer_schedule import LayerSchedule
from strategies.ldawa import (
    DAWA,
    LDAWA,
    PRESETS,
    ConstShrink,
    NormalizedLDAWA,
    ReleasedLDAWA,
    RenormedLDAWA,
    Uniform,
)
from strategies.ldawa_options import LDAWAOptions
from strategies.loss_weighted import LossWeighted
from strategies.median import Median
from strategies.moon import MOON
from strategies.multikrum import MultiKrum
from strategies.scaffold import SCAFFOLD
from strategies.trimmed_mean import TrimmedMean

__all__ = [
    "DAWA",
    "LDAWA",
    "MOON",
    "PRESETS",
    "SCAFFOLD",
    "STRATEGIES",
    "AttackAdaptive",
    "Bulyan",
    "ConstShrink",
    "CustomStrategyConfig",
    "Elastic",
    "EncoderOnly",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedBN",
    "FedDyn",
    "FedEMA",
    "FedExP",
    "FedLAMA",
    "FedLWS",
    "FedNova",
    "FedProx",
    "FedU",
    "FedVSSL",
    "FedX",
    "FedYogi",
    "FoldingStrategy",
    "Krum",
    "LDAWAOptions",
    "LayerSchedule",
    "LossWeighted",
    "Median",
    "MultiKrum",
    "NormalizedLDAWA",
    "ReleasedLDAWA",
    "RenormedLDAWA",
    "Stateful",
    "StrategyConfig",
    "TrimmedMean",
    "Uniform",
    "build",
]

STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    "fedssl.strategies",
    Strategy,
    FedAvg,
    Uniform,
    LDAWA,
    ReleasedLDAWA,
    NormalizedLDAWA,
    DAWA,
    ConstShrink,
    RenormedLDAWA,
    LossWeighted,
    FedProx,
    MOON,
    SCAFFOLD,
    FedDyn,
    FedX,
    FedU,
    FedEMA,
    FedBN,
    EncoderOnly,
    LayerSchedule,
    FedLAMA,
    FedVSSL,
    FedNova,
    Elastic,
    FedAvgM,
    FedAdam,
    FedYogi,
    FedAdagrad,
    FedExP,
    FedLWS,
    Median,
    TrimmedMean,
    Krum,
    MultiKrum,
    Bulyan,
    AttackAdaptive,
    custom=CustomStrategyConfig,
)
"""The strategies by name."""


def build(config: StrategyConfig, parts: TensorRoles) -> Strategy:
    """Return the strategy that a config names, for a model with these tensor roles.

    A custom class that does not take ``config`` and ``parts``, such as Flower's, gets the
    section's further fields as keyword arguments, and ``buffers`` or ``norms`` of ``parts`` if it
    has such parameters.

    Raises
    ------
    ValueError
        The strategy cannot be built with these fields, or for this model.

    Examples
    --------
    >>> build(FedAvgM.Config(momentum=0.5), TensorRoles())
    FedAvgM: lr 1.0, momentum 0.5
    """
    named = STRATEGIES.find(config.name, "strategy.name")
    if not (issubclass(named, FoldingStrategy) and {"config", "parts"} <= _parameters(named)):
        return _by_keywords(named, config, parts)
    _, settled = STRATEGIES.resolve(config, "strategy")
    return named(cast(StrategyConfig, settled), parts)


# Flower's own strategies wait for ever for as many nodes as their minimums say, and would ask
# clients to evaluate, which ours do not; a cohort may well be one client.
_FLOWER_DEFAULTS = {
    "min_train_nodes": 1,
    "min_available_nodes": 1,
    "min_evaluate_nodes": 0,
    "fraction_evaluate": 0.0,
}


def _parameters(named: type[Strategy]) -> set[str]:
    return set(inspect.signature(named).parameters)


def _by_keywords(named: type[Strategy], config: StrategyConfig, parts: TensorRoles) -> Strategy:
    given = config.model_dump(exclude=set(StrategyConfig.model_fields))
    if forbidden := sorted(given.keys() & {"fraction_train", *_FLOWER_DEFAULTS}):
        raise ValueError(
            f"strategy.{forbidden[0]}: who takes part is decided by `participation`; leave it out"
        )
    signature = inspect.signature(named)
    defaults = {**_FLOWER_DEFAULTS, "buffers": parts.buffers, "norms": parts.batchnorm_names}
    arguments = {n: v for n, v in defaults.items() if n in signature.parameters} | given
    try:
        signature.bind(**arguments)
    except TypeError as error:
        accepted = ", ".join(signature.parameters) or "nothing"
        raise ValueError(f"strategy {config.name}: {error}; it takes {accepted}") from None
    return named(**arguments)
