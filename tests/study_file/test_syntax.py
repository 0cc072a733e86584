"""Files that are no TOML or no text at all, with the whole message."""

from __future__ import annotations

import pytest

from tests.study_file.conftest import Refusal

TWICE = "  do:    keep one of the two"
MESSAGES = {
    "a key twice": (
        "seeds = 1\n\nseeds = 2",
        "3:1: 'seeds' is given twice, first in line 1\n    seeds = 2\n    ^^^^^\n" + TWICE,
    ),
    "a table twice": (
        "[train]\n[data]\n[train]\nepochs = 1",
        "3:2: 'train' is given twice, first in line 1\n    [train]\n     ^^^^^\n" + TWICE,
    ),
    "a key twice in an inline table": (
        "data = { source = 'a', source = 'b' }",
        "1:24: 'source' is given twice, first in line 1\n    data = { source = 'a', source = 'b' }\n"
        "                           ^^^^^^\n" + TWICE,
    ),
    "text without quotes": (
        '[conditions.a]\n"*" = zeros # all',
        '2:7: this is no TOML value\n    "*" = zeros # all\n          ^^^^^\n  do:    put text in quotes: "zeros"',
    ),
    "a call without quotes": (
        '[conditions.a]\n"*" = normal(std=0.1)',
        '2:7: this is no TOML value\n    "*" = normal(std=0.1)\n          ^^^^^^^^^^^^^^^\n'
        '  do:    put text in quotes: "normal(std=0.1)"',
    ),
    "a truth value as Python writes it": (
        "[train]\noptimizer_options = { amsgrad = True }",
        "2:33: this is no TOML value\n    optimizer_options = { amsgrad = True }\n"
        "                                    ^^^^\n  do:    write true",
    ),
    "a pattern without quotes": (
        '[conditions.a]\n*.bias = "zeros"',
        '2:1: here a key, a [table] or a comment is wanted\n    *.bias = "zeros"\n    ^\n'
        '  do:    put the pattern in quotes: "*.bias"',
    ),
    "no value at the end of the file": ("seeds =\n\n", "1:8: this is no TOML value\n    seeds =\n           ^"),
    "no equals sign": ("seeds 10", "1:7: there is no '=' after the key\n    seeds 10\n          ^"),
    "two values": ("seeds = 1 2", "1:11: the line should have ended here\n    seeds = 1 2\n              ^"),
    "quotes that do not close": (
        'title = "abc\nseeds = 1',
        '1:13: the quotes are not closed on this line\n    title = "abc\n                ^',
    ),
    "a list that does not close": ("a = [1,\n  2,", "2:5: this is no TOML value\n      2,\n        ^"),
    "an escape that is none": (
        'title = "a\\q"',
        '1:11: a backslash in double quotes starts an escape, and this is none\n    title = "a\\q"\n'
        "              ^\n  do:    write \\\\ for \\, or put the text in single quotes",
    ),
    "single quotes that do not close": (
        "title = 'abc\nseeds = 1",
        "1:9: the quotes that open here are not closed\n    title = 'abc\n            ^",
    ),
    "three quotes that do not close": (
        'title = """abc\n"\nseeds = 1',
        '1:9: the quotes that open here are not closed\n    title = """abc\n            ^',
    ),
    "quotes that the file's end cuts off": (
        '[data]\nsource = "abc',
        '2:10: the quotes that open here are not closed\n    source = "abc\n             ^',
    ),
    "a control character, shown as a mark": (
        "title = 'a\x1b[31m'",
        "1:11: the character '\\x1b' is not allowed\n    title = 'a\ufffd[31m'\n              ^",
    ),
    "a wide letter and a tab before the place": (
        "\t'日本' = = 1",
        "1:9: this is no TOML value\n        '日本' = = 1\n                 ^",
    ),
    "lists nested without end": ("a = " + "[" * 5000, "1:1: lists or tables are nested too deeply"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_syntax_error_is_shown_with_place_line_caret_and_cure(name: str, refusal: Refusal) -> None:
    text, expected = MESSAGES[name]
    assert refusal(text) == f"1 mistake in mine.toml\n\nmine.toml:{expected}"


def test_lines_that_end_as_on_windows_are_counted_once(refusal: Refusal) -> None:
    assert refusal("title = 'a'\r\n\r\nseeds = x\r\n") == (
        "1 mistake in mine.toml\n\nmine.toml:3:9: this is no TOML value\n    seeds = x\n            ^\n"
        '  do:    put text in quotes: "x"'
    )


def test_a_byte_that_is_not_utf_8_is_shown_at_its_place(refusal: Refusal) -> None:
    assert refusal(b"seeds = 1\r\ntitle = 'caf\xe9s'") == (
        "1 mistake in mine.toml\n\nmine.toml:2:13: the byte 0xE9 is not UTF-8\n    title = 'caf\ufffds'\n"
        "                ^\n  do:    save the file as UTF-8"
    )


def test_a_file_in_utf_16_is_named_as_such(refusal: Refusal) -> None:
    assert refusal("seeds = 1".encode("utf-16")) == (
        "1 mistake in mine.toml\n\nmine.toml:1:1: the file is UTF-16, and TOML is UTF-8\n  do:    save it as UTF-8"
    )


def test_a_whole_number_of_too_many_digits_is_refused(refusal: Refusal) -> None:
    assert refusal("seeds = " + "1" * 5000).startswith("1 mistake in mine.toml\n\nmine.toml:1:1: exceeds the limit")
