import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedssl.base.printable import SPELL_OUT, printable, printable_message, printable_value


@given(st.text(st.characters(), max_size=400), st.integers(30, 200))
def test_no_text_stays_that_a_terminal_obeys_and_none_is_long(text: str, most: int) -> None:
    shown = printable(text, most)
    unsafe = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not [c for c in shown if unicodedata.category(c) in unsafe and c not in "\u200c\u200d"]
    assert len(shown) <= most
    assert printable(shown, most) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"),
        ("猫 قطة 👩‍👧 é", "猫 قطة 👩‍👧 é"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("a\u202eb\u2028", r"a\u202eb\u2028"),
        ("a\x9b2J", r"a\x9b2J"),
        ("a\udcff", r"a\udcff"),
        (r"a\x1b", r"a\x1b"),
        ("[bold]", "[bold]"),
        ("x" * 400, "x" * 282 + "… (400 characters)"),
    ],
)
def test_only_what_is_unsafe_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_message_keeps_its_lines_and_fits_a_screen() -> None:
    assert printable_message("a\n  b\x1b") == "a\n  b\\x1b"
    long = printable_message("line\n" * 5000 + "y" * 10_000)
    assert long.splitlines()[-1] == "… and 4,942 more lines"
    assert printable_message(long) == long


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        ([0.5, 2, None], "[0.5, 2, null]"),
        ({"a": [1, "b"]}, "{'a': [1, 'b']}"),
        (1 << 2000, "a number of 2001 bits"),
        ("a\nb", r"a\nb"),
    ],
)
def test_a_value_is_shown_as_it_is_written(value: object, shown: str) -> None:
    assert printable_value(value) == shown


def test_of_a_large_value_no_more_is_looked_at_than_is_shown() -> None:
    nested: list[object] = ["x"]
    for _ in range(60):  # 9**60 values, were they all visited
        nested = [nested] * 9
    assert len(printable_value(nested)) <= 80
    assert len(printable_value(["x" * 10**6] * 10**6)) <= 80


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_an_encoding_lacks_is_spelled_out(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=SPELL_OUT)
    stream.write("█ 3×4 δ … 猫")
    stream.flush()
    stream.seek(0)
    shown = {"ascii": r"# 3x4 delta ... \u732b", "cp1252": r"# 3×4 delta … \u732b"}
    assert stream.read() == shown.get(encoding, "█ 3×4 δ … 猫")
