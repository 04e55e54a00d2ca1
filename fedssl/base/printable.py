"""Make untrusted text safe to print: class names, file names, clients' errors.

A terminal executes control characters and escape sequences, and a bidirectional override changes
the order of the text after it. So these are escaped. Lengths are limited.
"""

import codecs
import unicodedata
from collections.abc import Mapping
from itertools import islice

LINE = 300
"""The maximum length of an untrusted text."""
_MESSAGE_LINE = 1000
_MESSAGE_LINES = 60

# Joiners make letters of Indic and Persian words, and emoji of several parts.
_JOINERS = "\u200c\u200d"
# Control, format, surrogate; line and paragraph separators.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: object, most: int = LINE) -> str:
    r"""Return a text as one line without anything that a terminal would execute.

    Parameters
    ----------
    text : object
        Any object, which ``str`` converts.
    most : int, default 300
        The maximum length. A longer text is cut, and its length is appended.

    Examples
    --------
    >>> printable("cat\x1b[2J")
    'cat\\x1b[2J'
    """
    full_text = str(text)
    safe = escape_unsafe(full_text[: most + 1])
    if max(len(full_text), len(safe)) <= most:
        return safe
    end = f"… ({len(full_text):,} characters)"
    return safe[: max(1, most - len(end))] + end


def escape_unsafe(text: str) -> str:
    r"""Return a line in which unsafe characters are escaped as in Python: ``\x1b``."""
    return text if text.isascii() and text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isascii() and character.isprintable():
        return character
    if unicodedata.category(character) not in _UNSAFE or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def printable_message(text: object) -> str:
    """Return a message of several lines, safe to print and limited in size.

    A message that this function returned is not changed again.
    """
    lines = str(text).split("\n")
    shown = [printable(line.replace("\t", "    "), _MESSAGE_LINE) for line in lines]
    if len(shown) > _MESSAGE_LINES:
        omitted = len(shown) - _MESSAGE_LINES + 1
        shown = [*shown[: _MESSAGE_LINES - 1], f"… and {omitted:,} more lines"]
    return "\n".join(shown)


def printable_value(given: object, most: int = 80) -> str:
    """Return a value as a config file has it, cut after ``most`` characters.

    Only the part of a large value that is returned is read.

    Examples
    --------
    >>> printable_value([1, True, None])
    '[1, true, null]'
    """
    return printable(_written(given, most + 1), most)


def _written(given: object, room: int, depth: int = 0) -> str:
    if given is None or isinstance(given, bool):
        return "null" if given is None else str(given).lower()
    if isinstance(given, str):
        return given if not depth else repr(given[:room])
    if isinstance(given, int):
        # Python writes no number of more than 4300 digits.
        return str(given) if given.bit_length() < 1000 else f"a number of {given.bit_length()} bits"
    if isinstance(given, (list, tuple, Mapping)):
        opening, closing = "{}" if isinstance(given, Mapping) else "[]"
        if depth > 3:
            return f"{opening}…{closing}"
        text = ""
        for place, item in enumerate(islice(given, room)):
            if len(text) > room:
                break
            text += ", " * bool(place) + _written(item, room, depth + 1)
            if isinstance(given, Mapping):
                text += ": " + _written(given[item], room, depth + 1)
        return opening + text + closing
    return str(given)


_PLAIN = str.maketrans(
    {
        "█": "#", "×": "x", "–": "-", "—": "-", "…": "...", "δ": "delta", "α": "alpha", "·": ".",
        "±": "+-", "≥": ">=", "≤": "<=", "→": "->", "−": "-", "‖": "|", "’": "'", "━": "-",
        "╸": "-", "╺": "-", "•": "*", "─": "-", "│": "|",
        **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"), **dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*"),
    }
)  # fmt: skip


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks by similar ones, or by escape sequences."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end].translate(_PLAIN)
    return missing.encode("ascii", "backslashreplace").decode("ascii"), error.end


SPELL_OUT = "fedssl-spell-out"
"""The name of this error handler, for ``stream.reconfigure(errors=…)``."""
codecs.register_error(SPELL_OUT, _spell_out)
