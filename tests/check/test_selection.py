"""Which rules are meant and which findings are silenced, by what, and what silences nothing."""

from __future__ import annotations

import pytest

from initscope.base.errors import UsageError
from initscope.checker.baseline import Baseline
from initscope.checker.rule_names import LEGAL, REDIRECTS, resolve_rules
from initscope.checker.selection import IN_BASELINE, Allowance, Unused, chosen, silence
from initscope.checker.settings import PathIgnore, Settings
from initscope.records.finding import Finding

KNOWN = {"equal-units": "INI101", "signal-fades": "INI301", "signal-grows": "INI302", "dead-units": "INI402"}


def finding(name: str, *where: str) -> Finding:
    """A warning of a made-up rule."""
    return Finding(code=KNOWN[name], name=name, severity="warn", where=where, message="m")


FADES, GROWS = finding("signal-fades", "a.fc", "b"), finding("signal-grows", "b.fc")
DEAD = finding("dead-units", "b.act")
ALL = (FADES, GROWS, DEAD)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["signal-grows", "INI301"], ["signal-fades", "signal-grows"]),
        (["INI3"], ["signal-fades", "signal-grows"]),
        (["ini402"], ["dead-units"]),
        (["ALL"], list(KNOWN)),
        (["INI"], list(KNOWN)),
        (["INI3", "signal-fades"], ["signal-fades", "signal-grows"]),
        ([], []),
    ],
)
def test_rules_are_named_by_name_code_beginning_of_a_code_or_all(wanted: list[str], names: list[str]) -> None:
    assert resolve_rules(wanted, where="--select", known=KNOWN) == tuple(names)


@pytest.mark.parametrize(
    ("wanted", "do"),
    [
        ("signal-fade", "did you mean 'signal-fades'? initscope list rules shows them all"),
        ("xyz", "initscope list rules shows them all"),
        ("", "initscope list rules shows them all"),
    ],
)
def test_an_unknown_rule_is_refused_with_the_nearest(wanted: str, do: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve_rules([wanted], where="--select", known=KNOWN)
    assert str(refused.value) == f"unknown rule {wanted!r}\n  where: --select\n  legal: {LEGAL}\n  do:    {do}"


def test_a_former_name_means_the_rule_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REDIRECTS, "vanishing", "signal-fades")
    assert resolve_rules(["vanishing"], where="--select", known=KNOWN) == ("signal-fades",)


def test_ignored_rules_are_not_chosen_and_an_empty_selection_is_every_rule() -> None:
    assert chosen(Settings(), KNOWN) == tuple(KNOWN)
    settings = Settings(select=("signal-fades", "dead-units"), ignore=("dead-units",))
    assert chosen(settings, KNOWN) == ("signal-fades",)


def test_without_any_setting_every_finding_is_kept() -> None:
    assert silence(ALL, settings=Settings(), known=KNOWN) == (ALL, (), ())


def test_rules_that_are_not_selected_say_nothing_and_ignored_ones_are_silenced() -> None:
    settings = Settings(select=("signal-fades", "signal-grows"), ignore=("signal-grows",))
    kept, silenced, _ = silence(ALL, settings=settings, known=KNOWN)
    assert (kept, silenced) == ((FADES,), ((GROWS, "the rule is ignored"),))


def test_an_allowance_silences_its_rules_in_its_module_and_below() -> None:
    allowed = [Allowance(path="a", rule="INI3", reason="on purpose")]
    kept, silenced, unused = silence(ALL, settings=Settings(), allowances=allowed, known=KNOWN)
    assert (kept, silenced, unused) == ((GROWS, DEAD), ((FADES, "allowed: on purpose"),), ())


def test_an_allowance_of_the_whole_model_has_an_empty_path() -> None:
    allowed = [Allowance(path="", rule="ALL", reason="r")]
    assert silence(ALL, settings=Settings(), allowances=allowed, known=KNOWN)[0] == ()


def test_a_place_that_is_only_part_of_the_evidence_is_not_what_an_allowance_is_about() -> None:
    allowed = [Allowance(path="b", rule="signal-fades", reason="r")]
    kept, _, unused = silence([FADES], settings=Settings(), allowances=allowed, known=KNOWN)
    assert kept == (FADES,)
    assert unused == (Unused(kind="allow", place="b", rules=("signal-fades",), reason="r"),)


def test_a_path_ignore_matches_by_pattern_and_below() -> None:
    ignores = (PathIgnore(pattern="*.fc", rules=("signal-fades", "signal-grows"), reason="r"),)
    kept, silenced, unused = silence(ALL, settings=Settings(per_path_ignores=ignores), known=KNOWN)
    assert kept == (DEAD,)
    assert [reason for _, reason in silenced] == ["per-path-ignores '*.fc': r"] * 2
    assert unused == ()


def test_a_path_ignore_that_matches_nothing_is_unused_and_says_where_it_stands() -> None:
    settings = Settings(per_path_ignores=(PathIgnore(pattern="x", rules=("dead-units",), reason="r"),), source="p.toml")
    unused = silence(ALL, settings=settings, known=KNOWN)[2]
    assert unused == (Unused(kind="per-path-ignores", place="x", rules=("dead-units",), reason="r", source="p.toml"),)


@pytest.mark.parametrize(
    "settings", [Settings(select=("signal-fades",)), Settings(ignore=("dead-units",)), Settings()], ids=str
)
def test_a_suppression_of_a_rule_that_did_not_judge_is_never_called_unused(settings: Settings) -> None:
    allowed = [Allowance(path="x", rule="dead-units", reason="r")]
    known = Baseline(counts={"INI402 y": 1}, file="f")
    judged = {"signal-fades"}
    given = {"settings": settings, "allowances": allowed, "baseline": known, "known": KNOWN}
    assert silence([FADES], judged=judged, **given)[2] == ()  # type: ignore[arg-type]


def test_the_baseline_silences_as_many_findings_as_it_counts() -> None:
    known = Baseline(counts={"INI301 a.fc": 1, "INI302 gone": 2, "INI777 x": 1}, file="b.json")
    kept, silenced, unused = silence((FADES, FADES), settings=Settings(), baseline=known, known=KNOWN)
    assert (kept, silenced) == ((FADES,), ((FADES, IN_BASELINE),))
    assert unused == (
        Unused(kind="baseline", place="INI302 gone", rules=("signal-grows",), source="b.json", number=2),
        Unused(kind="baseline", place="INI777 x", rules=(), source="b.json"),
    )


def test_all_that_match_are_in_use_and_the_first_gives_the_reason() -> None:
    kept, silenced, unused = silence(
        [FADES],
        settings=Settings(per_path_ignores=(PathIgnore(pattern="a", rules=("signal-fades",), reason="r"),)),
        allowances=[Allowance(path="a.fc", rule="signal-fades", reason="first")],
        baseline=Baseline(counts={"INI301 a.fc": 1}, file="f"),
        known=KNOWN,
    )
    assert (kept, silenced, unused) == ((), ((FADES, "allowed: first"),), ())


def test_an_allowance_of_an_unknown_rule_is_refused_with_its_place() -> None:
    with pytest.raises(UsageError) as refused:
        silence((), settings=Settings(), allowances=[Allowance(path="a", rule="nix", reason="r")], known=KNOWN)
    assert refused.value.where == "initscope.allow('a', 'nix')"
