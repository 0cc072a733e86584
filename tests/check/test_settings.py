"""The table of pyproject.toml and the baseline file: what is read, and how what is malformed is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from initscope.base.errors import UsageError
from initscope.checker.baseline import baseline_text, fingerprint, read_baseline
from initscope.checker.rule_names import LEGAL
from initscope.checker.settings import PathIgnore, Settings, find_settings
from initscope.records.finding import Finding

KNOWN = {"signal-fades": "INI301", "signal-grows": "INI302", "dead-units": "INI402"}
GOOD = """\
[tool.initscope]
select = ["INI3", "dead-units"]
ignore = ["signal-grows"]
fail-on = "warn"

[tool.initscope.per-path-ignores]
"blocks.*.gate" = { rules = ["dead-units"], reason = "starts shut" }
"""
ENTRY = '{ rules = ["dead-units"], reason = "..." }'
FOUND = Finding(code="INI301", name="signal-fades", severity="warn", where=("b", "a"), message="m")


def written(folder: Path, text: str) -> Path:
    """Writes pyproject.toml and returns its path."""
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


def test_every_key_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert find_settings(tmp_path, known=KNOWN) == Settings(
        select=("signal-fades", "signal-grows", "dead-units"), ignore=("signal-grows",), fail_on="warn",
        per_path_ignores=(PathIgnore(pattern="blocks.*.gate", rules=("dead-units",), reason="starts shut"),),
        source=str(path),
    )  # fmt: skip


def test_the_nearest_file_that_has_the_table_counts(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    written(inner, "[project]\nname = 'x'\n")
    assert find_settings(inner, known=KNOWN).fail_on == "warn"
    written(tmp_path / "a", "[tool.initscope]\n")
    assert find_settings(inner, known=KNOWN).fail_on == "error"


def test_without_any_table_everything_is_selected(tmp_path: Path) -> None:
    assert find_settings(tmp_path, known=KNOWN) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("selct = ['ALL']", "unknown key 'selct'\n  where: {f}: tool.initscope\n"
         "  legal: fail-on, ignore, per-path-ignores, select\n  do:    did you mean 'select'?"),
        ("select = 'ALL'", f"select is not legal\n  where: {{f}}: tool.initscope.select\n  got:   'ALL'\n"
         f"  legal: a list of {LEGAL}"),
        ("select = []", f"select is not legal\n  where: {{f}}: tool.initscope.select\n  got:   []\n"
         f"  legal: a list of {LEGAL}"),
        ("ignore = ['dead-unit']", "unknown rule 'dead-unit'\n  where: {f}: tool.initscope.ignore\n"
         f"  legal: {LEGAL}\n  do:    did you mean 'dead-units'? initscope list rules shows them all"),
        ("ignore = [1]", f"ignore is not legal\n  where: {{f}}: tool.initscope.ignore\n  got:   [1]\n"
         f"  legal: a list of {LEGAL}"),
        ("fail-on = 'warning'", "fail-on is not legal\n  where: {f}: tool.initscope.fail-on\n  got:   'warning'\n"
         "  legal: error, warn, never\n  do:    did you mean 'warn'?"),
        ("fail-on = 1", "fail-on is not legal\n  where: {f}: tool.initscope.fail-on\n  got:   1\n"
         "  legal: error, warn, never"),
        ("per-path-ignores = 3", "per-path-ignores is not legal\n  where: {f}: tool.initscope.per-path-ignores\n"
         f"  got:   3\n  legal: a table of path patterns, each with {ENTRY}"),
        ("per-path-ignores = { a = ['x'] }", "the entry of 'a' is not legal\n"
         f"  where: {{f}}: tool.initscope.per-path-ignores.\"a\"\n  got:   ['x']\n  legal: {ENTRY}"),
        ("per-path-ignores = { a = { rules = ['INI3'] } }", "reason is missing\n"
         f"  where: {{f}}: tool.initscope.per-path-ignores.\"a\"\n  legal: {ENTRY}\n"
         "  do:    say why these rules are wrong there"),
        ("per-path-ignores = { a = { reason = 'r' } }", "rules is missing\n"
         f"  where: {{f}}: tool.initscope.per-path-ignores.\"a\"\n  legal: {ENTRY}\n"
         "  do:    name the rules that are to be silent there"),
        ("per-path-ignores = { a = { rules = ['INI3'], reason = ' ' } }", "reason is not legal\n"
         "  where: {f}: tool.initscope.per-path-ignores.\"a\".reason\n  got:   ' '\n  legal: a sentence\n"
         "  do:    say why these rules are wrong there"),
        ("per-path-ignores = { a = { rules = ['INI3'], reasn = 'r' } }", "unknown key 'reasn'\n"
         "  where: {f}: tool.initscope.per-path-ignores.\"a\"\n  legal: reason, rules\n"
         "  do:    did you mean 'reason'?"),
        ("per-path-ignores = { a = { rules = ['nix'], reason = 'r' } }", "unknown rule 'nix'\n"
         f"  where: {{f}}: tool.initscope.per-path-ignores.\"a\".rules\n  legal: {LEGAL}\n"
         "  do:    initscope list rules shows them all"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused_with_file_key_and_legal_values(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, f"[tool.initscope]\n{text}\n")
    with pytest.raises(UsageError) as refused:
        find_settings(tmp_path, known=KNOWN)
    assert str(refused.value) == message.replace("{f}", str(path))


def test_a_table_that_is_none_and_a_file_that_is_no_toml_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "[tool]\ninitscope = 3\n")
    with pytest.raises(UsageError) as refused:
        find_settings(tmp_path, known=KNOWN)
    where = f"{path}: tool.initscope"
    assert str(refused.value) == f"the table is not legal\n  where: {where}\n  got:   3\n  legal: a table"
    written(tmp_path, "[tool\n")
    with pytest.raises(UsageError) as refused:
        find_settings(tmp_path, known=KNOWN)
    assert str(refused.value).startswith(f"the file is not TOML\n  where: {path}\n  got:   ")
    assert "line 1" in str(refused.value)


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    path.write_text(baseline_text([FOUND, FOUND], target="a:b"))
    assert json.loads(path.read_text()) == {"version": 1, "target": "a:b", "findings": {"INI301 b": 2}}
    assert dict(read_baseline(path).counts) == {"INI301 b": 2}


def test_the_fingerprint_is_the_same_whatever_was_measured() -> None:
    other = Finding(code="INI301", name="signal-fades", severity="error", where=("b",), message="n", evidence={"a": 1})
    assert fingerprint(other) == fingerprint(FOUND) == "INI301 b"


AGAIN = "write it again with --write-baseline FILE"
SHAPE = f'legal: an object with "version", "target" and "findings"\n  do:    {AGAIN}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the baseline is not JSON\n  where: {f}:1:2\n"
         f"  got:   Expecting property name enclosed in double quotes\n  do:    {AGAIN}"),
        ("[]", f"the file is no baseline\n  where: {{f}}\n  {SHAPE}"),
        ('{"version": 1}', f"the file is no baseline\n  where: {{f}}\n  {SHAPE}"),
        ('{"version": 2, "findings": {}}', "the baseline is of another version\n  where: {f}\n  got:   version 2\n"
         f"  legal: version 1\n  do:    {AGAIN}"),
        ('{"version": 1, "findings": {"INI301 a": 0}}', "a count of the baseline is not legal\n"
         "  where: {f}: findings: 'INI301 a'\n  got:   0\n  legal: how many such findings are known, 1 or more"),
        ('{"version": 1, "findings": {"INI301 a": true}}', "a count of the baseline is not legal\n"
         "  where: {f}: findings: 'INI301 a'\n  got:   True\n  legal: how many such findings are known, 1 or more"),
    ],
)  # fmt: skip
def test_a_malformed_baseline_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "known.json"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_baseline(path)
    assert str(refused.value) == message.replace("{f}", str(path))


def test_a_baseline_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with pytest.raises(UsageError) as refused:
        read_baseline(path)
    told = f"cannot read the baseline\n  where: {path}\n  got:   No such file or directory\n  do:    {AGAIN}"
    assert str(refused.value) == told
