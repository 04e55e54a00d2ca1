"""Client rules: the parts of strategies that run on clients. Messages name them."""

from typing import cast

from fedssl.base.registry import Registry
from fedssl.client_rules.base import (
    ClientRule,
    ClientRuleConfig,
    CustomRuleConfig,
    ReportedMetric,
)
from fedssl.client_rules.context import ClientRound, LocalStep, Update
from fedssl.client_rules.feddyn import DynamicRegulariser
from fedssl.client_rules.fedema import Mixture
from fedssl.client_rules.fedu import KeepPredictor
from fedssl.client_rules.fedx import CrossDistillation
from fedssl.client_rules.moon import ModelContrast
from fedssl.client_rules.proximal import Proximal
from fedssl.client_rules.scaffold import ControlVariates
from fedssl.client_rules.sensitivity import Sensitivity

__all__ = [
    "CLIENT_RULES",
    "ClientRound",
    "ClientRule",
    "ClientRuleConfig",
    "LocalStep",
    "ReportedMetric",
    "Update",
    "build_rule",
]

CLIENT_RULES = Registry(
    "client rule",
    "fedssl.client_rules",
    ClientRule,
    Proximal,
    ModelContrast,
    KeepPredictor,
    Mixture,
    Sensitivity,
    ControlVariates,
    DynamicRegulariser,
    CrossDistillation,
    custom=CustomRuleConfig,
)
"""All client rules, by the names that messages give them."""


def build_rule(config: ClientRuleConfig) -> ClientRule:
    """Build a rule for one client and round.

    Raises
    ------
    ValueError
        No rule has this name, or one of its numbers is not valid.

    Examples
    --------
    >>> build_rule(Proximal.Config(mu=0.1)).config.mu
    0.1
    """
    if not isinstance(config, ClientRuleConfig):
        raise ValueError(
            f"a strategy's `rules` returns a {type(config).__name__}: it must return the Config of "
            "each rule, with its numbers"
        )
    if "." not in config.name and config.name not in CLIENT_RULES:
        path = f"{type(config).__module__}.{type(config).__qualname__.partition('.')[0]}"
        raise ValueError(
            f"rules.name = {config.name}: there is no client rule of this name; give it an entry "
            f"point in the group {CLIENT_RULES.group}, or its dotted path, {path}, for a name"
        )
    rule, section = CLIENT_RULES.resolve(config, "rules")
    return rule(cast(ClientRuleConfig, section))
