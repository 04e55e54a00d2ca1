"""Merging: Flower strategies, each with a pure function on tensors at its heart."""

from flwr.serverapp.strategy import Strategy

from fedssl.fields import Choice
from fedssl.state import ModelParts
from strategies.attack_adaptive import AttackAdaptive, AttackAdaptiveConfig
from strategies.base import FoldingStrategy, Stateful
from strategies.bulyan import Bulyan, BulyanConfig
from strategies.config import CustomStrategyConfig, StrategyConfig
from strategies.elastic import Elastic, ElasticConfig
from strategies.encoder_only import EncoderOnly, EncoderOnlyConfig
from strategies.fedadagrad import FedAdagrad, FedAdagradConfig
from strategies.fedadam import FedAdam, FedAdamConfig
from strategies.fedavg import FedAvg, FedAvgConfig
from strategies.fedavgm import FedAvgM, FedAvgMConfig
from strategies.fedbn import FedBN, FedBNConfig
from strategies.fedema import FedEMA, FedEMAConfig
from strategies.fedexp import FedExP, FedExPConfig
from strategies.fedlama import FedLAMA, FedLAMAConfig
from strategies.fedlws import FedLWS, FedLWSConfig
from strategies.fednova import FedNova, FedNovaConfig
from strategies.fedprox import FedProx, FedProxConfig
from strategies.fedu import FedU, FedUConfig
from strategies.fedvssl import FedVSSL, FedVSSLConfig
from strategies.fedyogi import FedYogi, FedYogiConfig
from strategies.krum import Krum, KrumConfig
from strategies.layer_schedule import LayerSchedule, LayerScheduleConfig
from strategies.ldawa import LDAWA
from strategies.ldawa_config import LDAWAConfig
from strategies.loss_weighted import LossWeighted, LossWeightedConfig
from strategies.median import Median, MedianConfig
from strategies.moon import MOON, MOONConfig
from strategies.multikrum import MultiKrum, MultiKrumConfig
from strategies.rule import PRESETS, Rule
from strategies.trimmed_mean import TrimmedMean, TrimmedMeanConfig

__all__ = [
    "LDAWA",
    "MOON",
    "PRESETS",
    "STRATEGIES",
    "WHEN_TO_USE",
    "AttackAdaptive",
    "Bulyan",
    "CustomStrategyConfig",
    "Elastic",
    "EncoderOnly",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgConfig",
    "FedAvgM",
    "FedBN",
    "FedEMA",
    "FedExP",
    "FedLAMA",
    "FedLWS",
    "FedNova",
    "FedProx",
    "FedU",
    "FedVSSL",
    "FedYogi",
    "FoldingStrategy",
    "Krum",
    "LDAWAConfig",
    "LayerSchedule",
    "LossWeighted",
    "Median",
    "MultiKrum",
    "Rule",
    "Stateful",
    "StrategyChoice",
    "StrategyConfig",
    "TrimmedMean",
    "build",
]

STRATEGIES: dict[str, type[StrategyConfig]] = {
    "fedavg": FedAvgConfig,
    "uniform": LDAWAConfig,
    "ldawa": LDAWAConfig,
    "ldawa-released": LDAWAConfig,
    "ldawa-normalized": LDAWAConfig,
    "dawa": LDAWAConfig,
    "const-shrink": LDAWAConfig,
    "ldawa-renorm": LDAWAConfig,
    "loss-weighted": LossWeightedConfig,
    "fedprox": FedProxConfig,
    "moon": MOONConfig,
    "fedu": FedUConfig,
    "fedema": FedEMAConfig,
    "fedbn": FedBNConfig,
    "encoder-only": EncoderOnlyConfig,
    "layer-schedule": LayerScheduleConfig,
    "fedlama": FedLAMAConfig,
    "fedvssl": FedVSSLConfig,
    "fednova": FedNovaConfig,
    "elastic": ElasticConfig,
    "fedavgm": FedAvgMConfig,
    "fedadam": FedAdamConfig,
    "fedyogi": FedYogiConfig,
    "fedadagrad": FedAdagradConfig,
    "fedexp": FedExPConfig,
    "fedlws": FedLWSConfig,
    "median": MedianConfig,
    "trimmed-mean": TrimmedMeanConfig,
    "krum": KrumConfig,
    "multikrum": MultiKrumConfig,
    "bulyan": BulyanConfig,
    "attack-adaptive": AttackAdaptiveConfig,
}
"""The config of every strategy, by name."""

WHEN_TO_USE = {
    name: (config.__doc__ or "").partition("\n")[0] for name, config in STRATEGIES.items()
} | {
    "uniform": "The mean over clients: the baseline of the L-DAWA family, with its warm-up.",
    "ldawa": "Each layer weighed by its cosine with the global one: for very different clients.",
    "ldawa-released": "The rule of the authors' code: negative cosines, scaled statistics.",
    "ldawa-normalized": "A control: L-DAWA's direction without its shrinking of the weights.",
    "dawa": "One cosine for the whole model: is looking at single layers worth it?",
    "const-shrink": "A control: L-DAWA's shrinking without its direction.",
    "ldawa-renorm": "A control: L-DAWA with each layer's norm restored.",
}
"""A line on when to use each: its config's first, or for the presets of one, these."""

StrategyChoice = Choice(STRATEGIES, custom=CustomStrategyConfig)
"""Validates the ``strategy`` section: ``Annotated[StrategyConfig, StrategyChoice]``."""


def build(config: StrategyConfig, parts: ModelParts) -> Strategy:
    """Return the strategy that a config names, for a model of these parts.

    Raises
    ------
    ValueError
        It cannot be had with these fields, or for this model.
    """
    return config.build(parts)
