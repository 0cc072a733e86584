"""Hypothesis strategies: valid TOML texts in every layout, and studies of every kind."""

from __future__ import annotations

import tomllib

from hypothesis import assume
from hypothesis import strategies as st

from initscope.records.study import ACTIVATIONS, DataSpec, FigureSpec, ModelSpec, Study, TrainSpec
from initscope.records.study_toml import toml_key, toml_value

LETTERS = st.characters(exclude_categories=["Cs"])
SCALARS = (
    "1", "-1_000", "0x1F", "+1e-8", "6.02e23", "inf", "true", "false", "1979-05-27T07:32:00Z",
    "1979-05-27 07:32:00", "07:32:00", '""', "''", '"a # b"', '"]},="', "'C:\\x'",
    '"\\" = \\\\"', '"\\u00e9"', '""""""', "''''''",
    '"""\nline "two" # no\n[no]\nno = 1"""', '""""quoted"""""', '"""a\\\n   b\\""""', "'''\n'no' ''\n]'''", "'''a'''''",
)  # fmt: skip
GAPS = st.sampled_from(["", " ", "\n", "\t\n ", " # ] } = ' \"\n", "\n\n# [no]\n"])
BLANKS = st.sampled_from(["", " ", "\t", "  "])
KEYS = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True), st.text(LETTERS, max_size=4))


@st.composite
def toml_texts(draw: st.DrawFn) -> str:
    """Valid TOML: pairs, dotted and quoted keys, tables, arrays of tables, inline tables, comments, odd blanks."""
    lines = _pairs(draw, draw(st.lists(KEYS, max_size=4, unique=True)))
    for name in draw(st.lists(KEYS, max_size=3, unique=True)):
        lines += _table(draw, [name], depth=0)
    text = draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join(lines) + draw(st.sampled_from(["", "\n", "\n# end"]))
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assume(False)
    return text


def _table(draw: st.DrawFn, path: list[str], *, depth: int) -> list[str]:
    """A table under a header of its own, or several in an array, with the tables inside."""
    array = draw(st.booleans())
    lines = []
    for _ in range(draw(st.integers(1, 3)) if array else 1):
        dot = draw(st.sampled_from([".", " . "]))
        header = dot.join(_key(draw, part) for part in path)
        lines.append(f"[[{header}]]" if array else draw(BLANKS) + f"[ {header} ] # note")
        keys = draw(st.lists(KEYS, max_size=4, unique=True))
        cut = draw(st.integers(0, len(keys)))
        lines += _pairs(draw, keys[:cut])
        for key in keys[cut:] if depth < 2 else []:
            lines += _table(draw, [*path, key], depth=depth + 1)
    return lines


def _pairs(draw: st.DrawFn, keys: list[str]) -> list[str]:
    lines = []
    for key in keys:
        tails = draw(st.one_of(st.just([]), st.lists(KEYS, min_size=1, max_size=2, unique=True)))
        for written in [f"{_key(draw, key)}{draw(BLANKS)}.{_key(draw, tail)}" for tail in tails] or [_key(draw, key)]:
            note = draw(st.sampled_from(["", "  # 'note\" = ["]))
            lines.append(f"{draw(BLANKS)}{written}{draw(BLANKS)}={draw(BLANKS)}{_value(draw, depth=0)}{note}")
    return lines


def _value(draw: st.DrawFn, *, depth: int) -> str:
    kind = draw(st.sampled_from(["scalar", "scalar", "text", "array", "table"] if depth < 3 else ["scalar"]))
    if kind == "scalar":
        return draw(st.sampled_from(SCALARS))
    if kind == "text":
        return toml_value(draw(st.text(LETTERS, max_size=6)))
    if kind == "array":
        items = [draw(GAPS) + _value(draw, depth=depth + 1) + draw(GAPS) for _ in range(draw(st.integers(0, 3)))]
        return f"[{','.join(items)}{',' if items and draw(st.booleans()) else ''}{draw(GAPS)}]"
    keys = draw(st.lists(KEYS, max_size=3, unique=True))
    pairs = [f"{draw(BLANKS)}{_key(draw, key)}{draw(BLANKS)}= {_value(draw, depth=depth + 1)}" for key in keys]
    return f"{{{','.join(pairs)}{draw(BLANKS)}}}"


def _key(draw: st.DrawFn, key: str) -> str:
    if "'" not in key and key.isprintable() and draw(st.booleans()):
        return f"'{key}'"
    return toml_key(key)


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,6}", fullmatch=True)
TEXTS = st.text(LETTERS, max_size=12)
CALLS = st.sampled_from(
    ["zeros", "ones", "normal(std=0.01)", 'x(mode="fan_in", gain=[1, 2.5])', " uniform( -1 , 1e-8 )"]
)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
OPTIONS = st.dictionaries(
    TEXTS,
    st.recursive(
        st.one_of(st.booleans(), st.integers(), FINITE, TEXTS), lambda inner: st.lists(inner, max_size=3), max_leaves=4
    ),
    max_size=3,
)

FILLED = TEXTS.filter(len)
DATA = st.builds(DataSpec, source=FILLED, test_fraction=st.floats(1e-300, 0.999))
TRAIN = st.builds(TrainSpec, optimizer=FILLED, learning_rate=POSITIVE, optimizer_options=OPTIONS)


def models() -> st.SearchStrategy[ModelSpec]:
    """Models with a name, with a factory and its options, or with neither."""
    shared = {
        "hidden": st.lists(st.integers(min_value=1), max_size=3).map(tuple),
        "activation": st.sampled_from(ACTIVATIONS),
    }
    named = st.builds(ModelSpec, name=st.one_of(st.none(), TEXTS), **shared)
    return st.one_of(named, st.builds(ModelSpec, factory=st.just("a.b:c"), options=OPTIONS, **shared))


@st.composite
def studies(draw: st.DrawFn) -> Study:
    """Studies with odd names, patterns, texts and numbers."""
    conditions = draw(st.dictionaries(NAMES, st.dictionaries(TEXTS, CALLS, max_size=3), min_size=1, max_size=4))
    key = st.sampled_from(list(conditions))
    keys = st.lists(key, min_size=1, max_size=3).map(tuple)
    return Study(
        name=draw(NAMES), title=draw(TEXTS), question=draw(TEXTS), baseline=draw(key), seeds=draw(st.integers(1)),
        root_seed=draw(st.integers(0)), conditions=conditions, about=draw(st.dictionaries(key, TEXTS, max_size=3)),
        data=draw(DATA), model=draw(models()), train=draw(TRAIN),
        figures={name: _figure(draw, draw(keys)) for name in draw(st.lists(NAMES, max_size=3, unique=True))},
    )  # fmt: skip


def _figure(draw: st.DrawFn, conditions: tuple[str, ...]) -> FigureSpec:
    kind = draw(st.sampled_from(["accuracies", "histogram", "starting-values"]))
    number = {"accuracies": 0, "histogram": 1, "starting-values": 2}[kind]
    parameters = tuple(draw(TEXTS) for _ in range(number))
    shifts = tuple(draw(FINITE) for _ in parameters) if draw(st.booleans()) else ()
    return FigureSpec(kind=kind, conditions=conditions, parameters=parameters, shifts=shifts)
