from hypothesis import given
from hypothesis import strategies as st

from fedssl.foreign_text import LIMIT, printable


@given(st.text(max_size=2 * LIMIT))
def test_what_comes_out_is_one_printable_line_of_bounded_length(text: str) -> None:
    shown = printable(text)
    assert len(shown) <= LIMIT
    assert shown.isprintable()


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=LIMIT))
def test_printable_text_is_left_alone(text: str) -> None:
    assert printable(text) == text


def test_escapes_of_terminals_are_shown_and_long_text_is_cut() -> None:
    assert printable("a\x1b[2J\r\nb") == "a\\x1b[2J\\r\\nb"
    # It would turn the rest of the line round.
    assert printable("\u202ex") == "\\u202ex"
    assert printable("x" * 1_000_000) == "x" * (LIMIT - 1) + "…"
