"""Read YAML that is not trusted, with limits on size, depth and number of values.

Names of fields are text; values are null, booleans, numbers, text, lists and sections. Unlike in
YAML 1.1, ``1e-3`` is a number and ``1e1`` an integer; ``010``, which could mean 8 or 10, and dates
are text.
"""

import os
import re
import select
import stat
import time
from pathlib import Path
from typing import Any

import yaml

from fedssl.base.printable import printable

BYTES = 1_000_000
"""The maximum size of a config in bytes."""
VALUES = 10_000
"""The maximum number of values of a config: fields, items and names, with aliases expanded."""
DEPTH = 32
"""The maximum nesting of sections and lists."""
SECONDS = 5.0
"""The time limit for reading a pipe or a device, such as standard input."""
DIGITS = 400
"""The maximum number of characters of a number."""

_TAG = "tag:yaml.org,2002:"
_KEPT = {_TAG + kind for kind in ("null", "bool", "merge")}
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+)$")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)
_EXACT = 2.0**53
"""A float holds every integer up to this one."""


class UnreadableError(ValueError):
    """A text cannot be read as a config; the message says where and why."""


class _Refused(yaml.MarkedYAMLError):
    """Well-formed YAML that is not valid in a config."""


def _refused(node: yaml.Node | yaml.Event, why: str) -> _Refused:
    mark: yaml.error.Mark | None = node.start_mark  # type: ignore[assignment]
    return _Refused(problem=why, problem_mark=mark)


class _Loader(yaml.SafeLoader):
    """A loader that counts nodes while it composes them; it constructs nothing by tags."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str, most_values: int):
        super().__init__(text)
        self._most = most_values
        self._values = 0
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._values
        if isinstance(event, yaml.AliasEvent) and event.anchor in self.anchors:
            size = self._sizes.get(id(self.anchors[event.anchor]))
            if size is None:
                raise _refused(
                    event, f"*{printable(event.anchor, 40)} is an alias of what it is in"
                )
            self._values += size
        self._values += 1
        self._depth += 1
        if self._depth > DEPTH:
            raise _refused(event, f"is nested more than {DEPTH} levels deep")
        if self._values > self._most:
            raise _refused(event, f"more than {self._most:,} values, aliases written out")
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = self._values - before
        return node


_Loader.add_implicit_resolver(f"{_TAG}int", _WHOLE, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))


def parse(text: str, most_bytes: int = BYTES, most_values: int = VALUES) -> Any:
    """Parse a YAML text.

    Parameters
    ----------
    text : str
        A single document.
    most_bytes, most_values : int
        The limits; a larger text is refused before it takes time or memory.

    Raises
    ------
    UnreadableError
        The text is not YAML, or has something that configs do not allow.

    Examples
    --------
    >>> parse("{lr: 1e-3, code: 010}")
    {'lr': 0.001, 'code': '010'}
    """
    # A character has at least one byte, so a text that is far too long is not encoded.
    if len(text) > most_bytes or len(text.encode("utf-8", "replace")) > most_bytes:
        raise UnreadableError(f"is larger than {most_bytes / 1e6:g} MB, so it is no config")
    try:
        loader = _Loader(text, most_values)
        try:
            node = loader.get_single_node()
            return None if node is None else _build(node)
        finally:
            loader.dispose()
    except _Refused as error:
        raise UnreadableError(f"line {_line(error)}: {error.problem}") from None
    except yaml.MarkedYAMLError as error:
        while_ = f" ({error.context})" if error.context else ""
        raise UnreadableError(
            f"not valid YAML: line {_line(error)}: {printable(error.problem)}{printable(while_)}"
        ) from None
    except yaml.YAMLError as error:
        raise UnreadableError(f"not valid YAML: {printable(error)}") from None


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _build(node: yaml.Node) -> Any:
    kind = node.tag.removeprefix(_TAG)
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _section(node)
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_build(item) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        text = node.value
        if kind == "str":
            return text
        if kind == "null" and text.lower() in ("", "~", "null"):
            return None
        if kind == "bool" and (truth := yaml.SafeLoader.bool_values.get(text.lower())) is not None:
            return truth
        if kind in ("int", "float"):
            return _number(node, kind)
    tag = printable(node.tag.replace(_TAG, "!!"), 60)
    raise _refused(node, f"the tag {tag} means nothing in a config; remove it")


def _number(node: yaml.ScalarNode, kind: str) -> int | float:
    text = node.value
    if len(text) > DIGITS:
        raise _refused(node, f"a number of {len(text):,} characters; write a shorter one")
    plain = text.replace("_", "").lower()
    try:
        if kind == "int" and _WHOLE.match(text):
            return _within_64_bits(node, int(plain, 0))
        if not (_FLOAT.match(text) or _WHOLE.match(text)):
            raise ValueError
        number = float(plain.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise _refused(node, f"{printable(text, 60)} is no number") from None
    if "e" in plain and "." not in plain and abs(number) <= _EXACT and number.is_integer():
        return int(number)
    return number


def _within_64_bits(node: yaml.Node, number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise _refused(node, f"{printable(number, 60)} does not fit into 64 bits")
    return number


def _section(node: yaml.MappingNode) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    lines: dict[str, int] = {}
    merged: dict[str, Any] = {}
    for key, value in node.value:
        if key.tag == f"{_TAG}merge":
            for section in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(section, yaml.MappingNode):
                    raise _refused(key, "<< takes the alias of a section, or a list of such")
                merged = {**_section(section), **merged}
            continue
        if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_TAG}str":
            name = f"{printable(key.value, 60)}" if isinstance(key, yaml.ScalarNode) else "this"
            raise _refused(key, f"{name} is no field's name, which is text")
        name, line = key.value, key.start_mark.line + 1
        if name in lines:
            first = "" if lines[name] == line else f"; the first is in line {lines[name]}"
            raise _refused(key, f"the key {printable(name, 60)} is given twice{first}")
        lines[name] = line
        fields[name] = _build(value)
    return {**merged, **fields}


def read_text(path: Path, most_bytes: int = BYTES) -> str:
    """Read a config's text, with limits on size and, for a pipe or a device, on time.

    Raises
    ------
    UnreadableError
        The text is too large, does not arrive in time, or is not UTF-8.
    OSError
        The file cannot be opened or read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        data = bytearray()
        deadline = time.monotonic() + SECONDS
        while len(data) <= most_bytes:
            remaining = deadline - time.monotonic()
            if waits and (remaining <= 0 or not select.select([descriptor], [], [], remaining)[0]):
                raise UnreadableError(f"did not end within {SECONDS:g} s; give a file")
            try:
                piece = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                continue
            if not piece:
                break
            data += piece
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise UnreadableError(f"is larger than {most_bytes / 1e6:g} MB, so it is no config")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("is not a text file in UTF-8") from None
