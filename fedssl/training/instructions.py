"""What a strategy has its clients do, beside training the model that it sends: as a message's text.

Rules travel by name and numbers, never as code.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import TypeAdapter, ValidationError

from fedssl.client_rules import CLIENT_RULES, ClientRule, ClientRuleConfig, build_rule
from fedssl.client_rules.proximal import Proximal
from fedssl.training.travel import TravelPlan

ConfigValue = bool | int | float | str | list[str] | list[int]

RULES = "rules"
"""The key of a message's config under which rules stand, as JSON."""
PROXIMAL_MU = "proximal-mu"
"""The key of Flower's own FedProx."""
MOST_RULES = 16
_LONGEST = 1 << 16

_ADAPTER: TypeAdapter[tuple[ClientRuleConfig, ...]] = TypeAdapter(
    tuple[Annotated[ClientRuleConfig, CLIENT_RULES.choice], ...]
)
_ALL = TravelPlan()


@dataclass(frozen=True)
class Instructions:
    """What clients do in a round, beside training; nothing by default.

    In a message it is part of the config; what is at its default is left out. So strategies that
    only merge, such as Flower's own, say nothing, and Flower's FedProx is understood.
    """

    plan: TravelPlan = _ALL
    """Which tensors travel."""
    rules: tuple[ClientRuleConfig, ...] = ()
    """The client rules that apply, in this order."""

    def to_config(self) -> dict[str, ConfigValue]:
        """Return it as a message's config holds it."""
        fields = TravelPlan.model_fields
        config: dict[str, ConfigValue] = {
            name: list(value) for name, value in self.plan if value != fields[name].default
        }
        if self.rules:
            config[RULES] = rules_to_json(self.rules)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Read what ``to_config`` returned; no rule of one's own is imported yet.

        Raises
        ------
        ValueError
            There is something that clients do not do, or with numbers that make no sense.
        """
        known = {*TravelPlan.model_fields, RULES, PROXIMAL_MU}
        if unknown := sorted(config.keys() - known):
            raise ValueError(
                f"the strategy asks its clients for {', '.join(unknown)}, which they do not do: "
                "choose a strategy that merges only"
            )
        plan = {name: value for name, value in config.items() if name in TravelPlan.model_fields}
        rules = rules_from_json(config[RULES]) if RULES in config else ()
        if held := _flowers_proximal(config.get(PROXIMAL_MU, 0)):
            rules = _each_once((held, *rules))
        return cls(TravelPlan.model_validate(plan), rules)

    def build_rules(self) -> list[ClientRule]:
        """Make the rules for one client and round; those of one's own are imported now.

        Raises
        ------
        ValueError
            There is no such rule, or a number of it is wrong.
        """
        return [build_rule(config) for config in self.rules]


def rules_to_json(rules: tuple[ClientRuleConfig, ...]) -> str:
    """Return rules as JSON: their names and numbers."""
    return json.dumps([rule.model_dump(mode="json") for rule in rules])


def rules_from_json(text: object) -> tuple[ClientRuleConfig, ...]:
    """Read what `rules_to_json` returned; what came from outside is not trusted.

    Raises
    ------
    ValueError
        It is no such text, a rule is not known, or it stands there twice.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ValueError(f"{RULES} must be a text of at most {_LONGEST:,} characters")
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{RULES} is no JSON") from None
    if not isinstance(listed, list) or len(listed) > MOST_RULES:
        raise ValueError(f"{RULES} must be a list of at most {MOST_RULES} rules")
    try:
        rules = _ADAPTER.validate_python(tuple(listed))
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise ValueError(f"{RULES}.{where}{_first_problem(error)}") from None
    except RecursionError:
        raise ValueError(f"{RULES} is nested too deeply") from None
    return _each_once(rules)


def _flowers_proximal(mu: object) -> ClientRuleConfig | None:
    try:
        config = Proximal.Config.model_validate({"mu": mu})
    except ValidationError as error:
        raise ValueError(f"{PROXIMAL_MU}{_first_problem(error)}") from None
    return config if config.mu else None


def _each_once(rules: tuple[ClientRuleConfig, ...]) -> tuple[ClientRuleConfig, ...]:
    if len({rule.name for rule in rules}) < len(rules):
        raise ValueError(f"{RULES} has a rule twice")
    return rules


def _first_problem(error: ValidationError) -> str:
    """Say what is wrong first; of a value from outside only the beginning."""
    problem = error.errors(include_url=False)[0]
    return f" = {reprlib.repr(problem['input'])}: {problem['msg']}"
