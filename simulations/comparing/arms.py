"""What is compared: strategies, with fields of their own where they have some, and references."""

import re
from dataclasses import dataclass, field

from fedssl.base.config_file import ConfigError

CENTRAL = "central"
LOCAL_ONLY = "local-only"
UNTRAINED = "untrained"
REFERENCES = {
    CENTRAL: "one client that holds all examples: what it costs to leave them where they are",
    LOCAL_ONLY: "each client alone, the mean over them: what it gains to work together",
}
"""The references that can be asked for; the untrained encoder, round 0, is always shown."""


@dataclass(frozen=True)
class Arm:
    """A strategy as it was named on the command line."""

    label: str
    overrides: tuple[str, ...] = field(default=())
    """What of the config makes it."""


def file_name(label: str) -> str:
    """Return a label as the name of a file or folder."""
    return re.sub(r"[^\w.=,()+-]", "_", label)


def split(text: str) -> list[str]:
    """Split at the commas that are outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += (letter in "([{") - (letter in ")]}") if not quote else 0
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def arms(text: str) -> list[Arm]:
    """Read a list of strategies, such as ``fedavg,ldawa(warmup_rounds=0),fedprox``.

    Raises
    ------
    ConfigError
        It is empty, names one twice, or cannot be read.
    """
    found: dict[str, Arm] = {}
    for label in split(text):
        match = re.fullmatch(r"([\w.-]+)(?:\((.*)\))?", label)
        if match is None:
            raise ConfigError(
                f"--strategies {text}: {label!r} is no strategy; write names such as fedavg, or "
                "ldawa(warmup_rounds=0), with commas between"
            )
        name, fields = match.groups()
        if name in (*REFERENCES, UNTRAINED):
            fix = "it is always shown" if name == UNTRAINED else f"say it by --references {name}"
            raise ConfigError(f"--strategies {text}: {name} is no strategy; {fix}")
        if label in found:
            raise ConfigError(f"--strategies {text}: {label} is given twice; leave one out")
        own = [f"strategy.{field}" for field in split(fields)] if fields else []
        found[label] = Arm(label, (f"strategy.name={name}", *own))
    return list(found.values())


def choices(texts: list[str], option: str) -> dict[str, tuple[str, ...]]:
    """Read fields with the values that each takes, such as ``partition.alpha=0.1,1,100``.

    Raises
    ------
    ConfigError
        One has no values, or a field or a value is given twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name, chosen = name.strip(), tuple(split(values))
        if not (name and equals and all(chosen)):
            raise ConfigError(
                f"{option} {text}: is written field=value,value, such as partition.alpha=0.1,100"
            )
        if name in found:
            raise ConfigError(f"{option} {text}: {name} is given twice; give all values at once")
        if len(set(chosen)) < len(chosen):
            raise ConfigError(f"{option} {text}: a value is given twice; leave one out")
        found[name] = chosen
    return found
