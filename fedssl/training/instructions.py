"""A strategy's instructions to its clients, and how a message's config holds them.

A message names client rules and gives their numbers; it never holds code.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import TypeAdapter, ValidationError

from fedssl.client_rules import CLIENT_RULES, ClientRule, ClientRuleConfig, build_rule
from fedssl.client_rules.proximal import Proximal
from fedssl.training.transmission import TransmissionPlan

ConfigValue = bool | int | float | str | list[str] | list[int]

RULES = "rules"
"""The key of a message's config that holds the client rules, as JSON."""
PROXIMAL_MU = "proximal-mu"
"""The key that Flower's FedProx uses."""
MAX_RULES = 16
_MAX_CHARACTERS = 1 << 16

_ADAPTER: TypeAdapter[tuple[ClientRuleConfig, ...]] = TypeAdapter(
    tuple[Annotated[ClientRuleConfig, CLIENT_RULES.choice], ...]
)
_TRANSMIT_ALL = TransmissionPlan()


@dataclass(frozen=True)
class Instructions:
    """What a strategy has its clients do in a round, beside training; by default nothing.

    A message's config holds it, without fields that have their default. So Flower's own strategies,
    which only merge, send none; Flower's FedProx is read as the client rule ``proximal``.

    Examples
    --------
    >>> instructions = Instructions(rules=(Proximal.Config(mu=0.5),))
    >>> instructions.to_config()
    {'rules': '[{"name": "proximal", "mu": 0.5}]'}
    >>> Instructions.from_config(instructions.to_config()) == instructions
    True
    """

    transmission: TransmissionPlan = _TRANSMIT_ALL
    """Which tensors the server sends and clients return."""
    rules: tuple[ClientRuleConfig, ...] = ()
    """The client rules, in the order in which they are applied."""

    def to_config(self) -> dict[str, ConfigValue]:
        """Return the entries of a message's config."""
        fields = TransmissionPlan.model_fields
        config: dict[str, ConfigValue] = {
            name: list(value) for name, value in self.transmission if value != fields[name].default
        }
        if self.rules:
            config[RULES] = rules_to_json(self.rules)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Read the instructions of a message's config; no user-defined rule is imported yet.

        Raises
        ------
        ValueError
            The config asks for something unknown, or a number is not valid.
        """
        known = {*TransmissionPlan.model_fields, RULES, PROXIMAL_MU}
        if unknown := sorted(config.keys() - known):
            raise ValueError(
                f"the strategy asks its clients for {', '.join(unknown)}, which they do not do: "
                "choose a strategy that merges only"
            )
        plan = {
            name: value for name, value in config.items() if name in TransmissionPlan.model_fields
        }
        rules = rules_from_json(config[RULES]) if RULES in config else ()
        if proximal := _flower_proximal(config.get(PROXIMAL_MU, 0)):
            rules = _without_repeats((proximal, *rules))
        return cls(TransmissionPlan.model_validate(plan), rules)

    def build_rules(self) -> list[ClientRule]:
        """Build the rules for one client and round; user-defined rules are imported now.

        Raises
        ------
        ValueError
            A rule does not exist, or one of its numbers is not valid.
        """
        return [build_rule(config) for config in self.rules]


def rules_to_json(rules: tuple[ClientRuleConfig, ...]) -> str:
    """Return the names and numbers of client rules as JSON."""
    return json.dumps([rule.model_dump(mode="json") for rule in rules])


def rules_from_json(text: object) -> tuple[ClientRuleConfig, ...]:
    """Read client rules from JSON, which need not come from `rules_to_json`.

    Raises
    ------
    ValueError
        The text is too long or no such JSON, or a rule is unknown, not valid or repeated.
    """
    if not isinstance(text, str) or len(text) > _MAX_CHARACTERS:
        raise ValueError(f"{RULES} must be text of at most {_MAX_CHARACTERS:,} characters")
    try:
        sections = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{RULES} is not valid JSON") from None
    if not isinstance(sections, list) or len(sections) > MAX_RULES:
        raise ValueError(f"{RULES} must be a list of at most {MAX_RULES} rules")
    try:
        rules = _ADAPTER.validate_python(tuple(sections))
    except ValidationError as error:
        field = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise ValueError(f"{RULES}.{field}{_first_problem(error)}") from None
    except RecursionError:
        raise ValueError(f"{RULES} is nested too deeply") from None
    return _without_repeats(rules)


def _flower_proximal(mu: object) -> ClientRuleConfig | None:
    try:
        config = Proximal.Config.model_validate({"mu": mu})
    except ValidationError as error:
        raise ValueError(f"{PROXIMAL_MU}{_first_problem(error)}") from None
    return config if config.mu else None


def _without_repeats(rules: tuple[ClientRuleConfig, ...]) -> tuple[ClientRuleConfig, ...]:
    if len({rule.name for rule in rules}) < len(rules):
        raise ValueError(f"{RULES} has a rule twice")
    return rules


def _first_problem(error: ValidationError) -> str:
    """Return the first problem with the beginning of its value, which may be long."""
    problem = error.errors(include_url=False)[0]
    return f" = {reprlib.repr(problem['input'])}: {problem['msg']}"
