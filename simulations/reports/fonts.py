"""Fonts for names in any script, since matplotlib's own font lacks most."""

import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

from matplotlib import ft2font
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from fedssl.base.printable import escape_unsafe, printable

USUAL = "DejaVu Sans"
"""The font that comes with matplotlib."""
_LONGEST = 40
"""The most characters of a class's name in a picture."""
# Placeholders for any character; letters at other places than Unicode's; pictures in colour.
_UNFIT = ("Last Resort", "STIXSize", "STIXNon", "cm", "DejaVu Sans Display", "DejaVu Serif Display")
# Since 3.11 matplotlib joins letters, and writes from right to left.
_SHAPES = hasattr(ft2font, "__libraqm_version__")
_RIGHT_TO_LEFT = {"R", "AL"}


def class_labels(names: Sequence[str]) -> list[str]:
    """Return the classes' labels in a picture: their names, or numbers if no font has the letters.

    Parameters
    ----------
    names : Sequence[str]
        The names of all classes in order; a number is an index into it, from 0. See `numbered`.
    """
    hidden = numbered(names)
    return [
        f"class {place}" if place in hidden else literal(printable(name, _LONGEST))
        for place, name in enumerate(names)
    ]


def numbered(names: Sequence[str]) -> dict[int, str]:
    """Return the names that no font of this machine can write, by their indices."""
    short = [printable(name, _LONGEST) for name in names]
    return {n: names[n] for n, name in enumerate(short) if not all(map(_family, name))}


def number_legend(names: Sequence[str]) -> str:
    """Return the legend of the numbers of `class_labels` as text; often empty."""
    hidden = [f"class {place}: {printable(name)}" for place, name in numbered(names).items()]
    return "In the pictures " + ", ".join(hidden) + "." if hidden else ""


def literal(text: str) -> str:
    """Keep matplotlib from reading a name as mathematics, or as hidden from the legend."""
    text = "\n".join(map(escape_unsafe, text.split("\n"))).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def set_fonts(figure: Figure) -> None:
    """Set fonts that have the characters of each text; other characters become a question mark."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        written = text.get_text()
        families = {character: _family(character) for character in written if character != "\n"}
        if set(families.values()) <= {USUAL}:
            continue
        shown = ((c if families.get(c, USUAL) else "?") for c in written)
        text.set_text("".join(shown))
        others = [name for name in dict.fromkeys(families.values()) if name not in (None, USUAL)]
        text.set_fontfamily([USUAL, *others])


@lru_cache(maxsize=10_000)
def _family(character: str) -> str | None:
    """Return a font that has a character, preferably the default one; None if there is none."""
    if not _SHAPES and unicodedata.bidirectional(character) in _RIGHT_TO_LEFT:
        return None
    for name, file in _fonts():
        if ord(character) in _characters(file):
            return name
    return None


@lru_cache(1)
def _fonts() -> list[tuple[str, str]]:
    """Return names and files of upright fonts, the default one first."""
    others = sorted(
        {
            (entry.name, entry.fname)
            for entry in fontManager.ttflist
            if entry.style == "normal" and str(entry.weight) in ("400", "normal", "regular")
            if not entry.name.startswith(_UNFIT) and "Color" not in entry.name
        }
    )
    return [(USUAL, findfont(FontProperties(family=[USUAL]))), *others]


@cache
def _characters(file: str) -> frozenset[int]:
    try:
        font = FT2Font(file)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()
