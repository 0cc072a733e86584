"""How a line and its carets are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initscope.study.problems import excerpt


@pytest.mark.parametrize(
    ("text", "span", "line", "carets"),
    [
        ("a = 1", (4, 5), "a = 1", "    ^"),
        ("x\n\ta = 1\ny", (3, 4), "    a = 1", "    ^"),
        ("日本 = 10", (5, 7), "日本 = 10", "       ^^"),
        ("e\u0301 = 10", (5, 7), "e\u0301 = 10", "    ^^"),
        ('a = """x\ny"""', (4, 13), 'a = """x', "    ^^^^"),
        ("a = ", (3, 4), "a =", "   ^"),
    ],
)
def test_carets_stand_below_the_span(text: str, span: tuple[int, int], line: str, carets: str) -> None:
    assert excerpt(text, span) == (line, carets)


def test_a_blank_line_is_not_shown() -> None:
    assert excerpt("a = 1\n   \n", (6, 7)) is None


def test_a_long_line_is_cut_at_both_ends() -> None:
    text = "a" * 200 + "KEY" + "b" * 200
    assert excerpt(text, (200, 203)) == ("..." + "a" * 21 + "KEY" + "b" * 66 + "...", " " * 24 + "^^^")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.integers(0, 299), st.integers(1, 300))
def test_an_excerpt_fits_the_screen_and_its_carets_stay_inside(text: str, start: int, length: int) -> None:
    shown = excerpt(text, (min(start, len(text)), min(start + length, len(text))))
    if shown is not None:
        assert shown[0].isprintable()
        assert len(shown[1]) <= 97
