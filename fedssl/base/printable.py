"""Text that came from outside, made safe to print: class names, file names, clients' errors.

A terminal obeys control characters and escape sequences, and shows what follows a bidirectional
override in another order than it is written; so these are spelled out. Lengths are bounded.
"""

import codecs
import unicodedata
from collections.abc import Mapping
from itertools import islice

LINE = 300
"""The most characters of a piece of foreign text."""
_MESSAGE_LINE = 1000
_MESSAGE_LINES = 60

# Joiners make letters of Indic and Persian words, and emoji of several parts.
_JOINERS = "\u200c\u200d"
# Control, format, surrogate; line and paragraph separators.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: object, most: int = LINE) -> str:
    r"""Return a text as one line that no terminal obeys.

    Parameters
    ----------
    text : object
        Whatever it is, as ``str`` gives it.
    most : int, default 300
        Of a longer one only so many characters are kept, and how many are left out is said.

    Examples
    --------
    >>> printable("cat\x1b[2J")
    'cat\\x1b[2J'
    """
    whole = str(text)
    safe = spelled_out(whole[: most + 1])
    if max(len(whole), len(safe)) <= most:
        return safe
    end = f"… ({len(whole):,} characters)"
    return safe[: max(1, most - len(end))] + end


def spelled_out(text: str) -> str:
    r"""Return a line in which what a terminal would obey is written as in Python: ``\x1b``."""
    return text if text.isascii() and text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isascii() and character.isprintable():
        return character
    if unicodedata.category(character) not in _UNSAFE or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def printable_message(text: object) -> str:
    """Return a message of several lines that fits a screen and that no terminal obeys.

    A message that it made is returned as it is.
    """
    lines = str(text).split("\n")
    shown = [printable(line.replace("\t", "    "), _MESSAGE_LINE) for line in lines]
    if len(shown) > _MESSAGE_LINES:
        left = len(shown) - _MESSAGE_LINES + 1
        shown = [*shown[: _MESSAGE_LINES - 1], f"… and {left:,} more lines"]
    return "\n".join(shown)


def printable_value(given: object, most: int = 80) -> str:
    """Return a value of a config as people write it there, cut after ``most`` characters.

    No more of a large value is looked at than is shown.
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
    """Write what an encoding lacks by what comes near it, or else by its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end].translate(_PLAIN)
    return missing.encode("ascii", "backslashreplace").decode("ascii"), error.end


SPELL_OUT = "fedssl-spell-out"
"""The name of how a stream encodes what its encoding lacks: ``stream.reconfigure(errors=…)``."""
codecs.register_error(SPELL_OUT, _spell_out)
