"""Merging: Flower strategies, each with a pure function on tensors at its heart."""

import inspect

from flwr.serverapp.strategy import Strategy

from fedssl.dotted import load_dotted
from fedssl.fields import Choice
from strategies.base import FoldingStrategy, Stateful
from strategies.config import CustomStrategyConfig, FedAvgConfig, LDAWAConfig, StrategyConfig
from strategies.fedavg import FedAvg
from strategies.ldawa import LDAWA
from strategies.rule import PRESETS, Rule

__all__ = [
    "LDAWA",
    "PRESETS",
    "STRATEGIES",
    "WHEN_TO_USE",
    "CustomStrategyConfig",
    "FedAvg",
    "FedAvgConfig",
    "FoldingStrategy",
    "LDAWAConfig",
    "Rule",
    "Stateful",
    "StrategyChoice",
    "StrategyConfig",
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
}
"""The config of every strategy, by name."""

WHEN_TO_USE = {
    "fedavg": "The mean by examples: the baseline that everyone knows.",
    "uniform": "The mean over clients: the baseline of the L-DAWA family, with its warm-up.",
    "ldawa": "Each layer weighed by its cosine with the global one: for very different clients.",
    "ldawa-released": "The rule of the authors' code: negative cosines, scaled statistics.",
    "ldawa-normalized": "A control: L-DAWA's direction without its shrinking of the weights.",
    "dawa": "One cosine for the whole model: is looking at single layers worth it?",
    "const-shrink": "A control: L-DAWA's shrinking without its direction.",
    "ldawa-renorm": "A control: L-DAWA with each layer's norm restored.",
}
"""A line on when to use each."""

StrategyChoice = Choice(STRATEGIES, custom=CustomStrategyConfig)
"""Validates the ``strategy`` section: ``Annotated[StrategyConfig, StrategyChoice]``."""

# Flower's own strategies wait for ever for as many nodes as their minimums say, and would ask
# clients to evaluate, which ours do not; a cohort may well be one client.
_FLOWER_DEFAULTS = {
    "min_train_nodes": 1,
    "min_available_nodes": 1,
    "min_evaluate_nodes": 0,
    "fraction_evaluate": 0.0,
}


def build(config: StrategyConfig, buffers: frozenset[str]) -> Strategy:
    """Return the strategy that a config names.

    Parameters
    ----------
    config : StrategyConfig
        Of one of the types in ``STRATEGIES``, or for a dotted path.
    buffers : frozenset[str]
        The names of the model's BatchNorm statistics; a custom class gets them if it has a
        parameter ``buffers``.

    Raises
    ------
    ValueError
        A dotted path leads to nothing, to no Flower strategy, or its fields are not its parameters.
    """
    match config:
        case FedAvgConfig():
            return FedAvg()
        case LDAWAConfig():
            return LDAWA(config.rule, warmup_rounds=config.warmup_rounds, buffers=buffers)
        case _:
            return _build_custom(config, buffers)


def _build_custom(config: StrategyConfig, buffers: frozenset[str]) -> Strategy:
    cls = load_dotted(config.name)
    if not (isinstance(cls, type) and issubclass(cls, Strategy)):
        raise ValueError(
            f"strategy.name = {config.name}: it is no subclass of flwr.serverapp.strategy.Strategy"
        )
    signature = inspect.signature(cls)
    offered = {**_FLOWER_DEFAULTS, "buffers": buffers}
    arguments = {n: v for n, v in offered.items() if n in signature.parameters}
    given = config.model_extra or {}
    if refused := sorted(given.keys() & {"fraction_train", *_FLOWER_DEFAULTS}):
        raise ValueError(
            f"strategy.{refused[0]}: who takes part is decided by `participation`; leave it out"
        )
    arguments |= given
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "nothing"
        raise ValueError(f"strategy {config.name}: {error}; it takes {known}") from None
    return cls(**arguments)
