"""The index of a TOML text, held against what tomllib reads."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from initscope.study.builtin_studies import builtin_text
from initscope.study.toml_index import Path, index_prefix, index_toml, unquoted
from tests.study_file.documents import toml_texts


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every path that tomllib yields, with its value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key), inner
        yield from walk(inner, (*path, key))


def assert_index_agrees(text: str) -> None:
    """Every path is found; its key's text reads as the key, its value's text as the value."""
    index = index_toml(text)
    paths = dict(walk(tomllib.loads(text)))
    assert set(index.keys) == set(paths)
    for path, value in paths.items():
        if isinstance(path[-1], str):
            assert unquoted(text[slice(*index.keys[path])]) == path[-1]
        if path in index.values:
            assert tomllib.loads("value = " + text[slice(*index.values[path])])["value"] == value
        else:
            assert isinstance(value, dict | list)
    assert index.repeats == ()


@settings(max_examples=60, deadline=None)
@given(toml_texts())
def test_the_index_finds_every_key_and_value_that_tomllib_reads(text: str) -> None:
    assert_index_agrees(text)


def test_the_index_agrees_with_tomllib_on_the_built_in_study() -> None:
    assert_index_agrees(builtin_text("surprising-demo"))


def test_the_comparison_with_tomllib_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.study_file.test_toml_index.index_toml", lambda text: index_prefix("[a]\nb = 2"))
    with pytest.raises(AssertionError):
        assert_index_agrees("[a]\nb = 1\nc = 3")


@pytest.mark.parametrize(
    ("text", "path", "key", "value"),
    [
        ("[a]\nb.c = 1", ("a", "b", "c"), (6, 7), (10, 11)),
        ("[a.b]\n[a]\nc = 1", ("a",), (7, 8), (7, 8)),
        ("[[a]]\n[[a]]\nb = 1", ("a", 1, "b"), (12, 13), (16, 17)),
        ("[[a]]\n[a.b]\nc = 1", ("a", 0, "b", "c"), (12, 13), (16, 17)),
        ("a = [1,\n  [2, 3]]", ("a", 1, 0), (11, 12), (11, 12)),
        ('a = {"b.c" = """x\n""", d = 2}', ("a", "d"), (23, 24), (27, 28)),
        ("a = 1979-05-27 07:32:00 # day", ("a",), (0, 1), (4, 23)),
        ("a = 1\r\nb = 2\r\n", ("b",), (7, 8), (11, 12)),
    ],
)
def test_a_key_and_its_value_have_these_offsets(text: str, path: Path, key: object, value: object) -> None:
    index = index_toml(text)
    assert (index.key(path), index.value(path)) == (key, value)


def test_a_path_that_is_not_in_the_text_has_no_span() -> None:
    assert index_toml("a = 1").key(("b",)) is None


@pytest.mark.parametrize(
    ("text", "path", "first", "second"),
    [
        ("a = 1\na = 2", ("a",), 0, 6),
        ("[a]\n[b]\n[a]", ("a",), 1, 9),
        ("[a]\nb = 1\n[a.b]", ("a", "b"), 4, 13),
        ("a = {b = 1, b = 2}", ("a", "b"), 5, 12),
        ("a = {b = 1}\na.c = 2", ("a",), 0, 12),
        ("[[a]]\n[a]", ("a",), 2, 7),
    ],
)
def test_a_key_given_twice_is_noted_with_both_places(text: str, path: Path, first: int, second: int) -> None:
    (repeat,) = index_prefix(text).repeats
    assert (repeat.path, repeat.first[0], repeat.second[0]) == (path, first, second)


@pytest.mark.parametrize("text", ["a", "a =", "a = [1", "[a", "= 1", "a = {b", '"', "a = \n"])
def test_a_text_that_is_no_toml_stops_the_scanner_with_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="offset"):
        index_toml(text)
