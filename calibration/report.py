"""The calibration as text for a terminal and as plain values for a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from calibration.records import Checked, Observed, Proof
from calibration.scores import Foretold, Overall, RuleScore, foretold, overall, rule_scores

HEADER = ("rule", "hits", "else", "missed", "errors", "warns", "stray", "margin hit", "margin sound")


def text(table: Sequence[Observed], gravest: Mapping[str, str]) -> str:
    """Returns what `make calibrate` prints: a line a rule, the names behind each fault, and the totals."""
    scores = rule_scores(table, gravest)
    lines = _aligned([HEADER, *(row(score) for score in scores)])
    lines += [""]
    for score in scores:
        lines += _named(score)
    lines += ["", *totals(overall(table))]
    if any(one.proof for one in table):
        rows = foretold_rows(foretold(table, gravest))
        lines += ["", *(_aligned(rows) if len(rows) > 1 else []), *_labels(table)]
    return "\n".join(lines) + "\n"


def row(score: RuleScore) -> tuple[str, ...]:
    """Returns the cells under HEADER of one rule."""
    counts = (score.hits, score.otherwise, score.missed, score.false_errors, score.false_warns, score.strays)
    return (
        score.rule,
        *(str(len(names)) if names else "." for names in counts),
        *("" if margin is None else f"{margin:+.2f}" for margin in (score.hit_margin, score.sound_margin)),
    )


def _named(score: RuleScore) -> list[str]:
    groups = (
        ("missed", score.missed),
        ("FALSE ERROR", score.false_errors),
        ("false warning", score.false_warns),
        ("stray error", score.strays),
        ("CRASHED", score.failed),
    )
    return [f"{score.rule}: {what} on {', '.join(names)}" for what, names in groups if names]


def totals(counts: Overall) -> list[str]:
    """Returns lines of the shares of broken networks named and of sound ones accused."""
    lost = [name for name in counts.broken if name not in (*counts.named, *counts.informed)]
    lines = [
        f"a right cause named: {_share(len(counts.named), len(counts.broken))} of the broken networks",
        f"false errors:        {_share(len(counts.false_errors), len(counts.sound))} of the sound networks",
        f"false warnings:      {_share(len(counts.false_warns), len(counts.sound))} of the sound networks",
    ]
    lines += [f"by an info line:     {', '.join(counts.informed)}"] if counts.informed else []
    lines += [f"no right cause:      {', '.join(lost)}"] if lost else []
    reasons = dict.fromkeys(counts.troubled.values())
    for reason in reasons:
        lines.append(
            f"NOT CHECKED, {reason}: {', '.join(name for name, own in counts.troubled.items() if own == reason)}"
        )
    return lines


def _labels(table: Iterable[Observed]) -> list[str]:
    wrong = [one for one in table if one.proof is not None and one.proof.proven is False]
    lines = [f"labels that training did not prove: {len(wrong)}"]
    return lines + [f"  {one.kind} {one.name}: {one.proof.text or losses(one.proof)}" for one in wrong if one.proof]


def _share(part: int, whole: int) -> str:
    return f"{part}/{whole} ({part / whole:.1%})" if whole else "0/0"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def foretold_rows(lines: Iterable[Foretold]) -> list[tuple[str, ...]]:
    """Returns a heading and the cells of each rule that spoke or had something to catch."""
    rows: list[tuple[str, ...]] = [
        ("findings against training", "spoke", "trained badly", "precision", "to be caught", "caught", "recall")
    ]
    rows += [
        (one.rule, str(one.fired), str(one.bad), _percent(one.precision), str(one.relevant), str(one.caught),
         _percent(one.recall))
        for one in lines
        if one.fired or one.relevant
    ]  # fmt: skip
    return rows


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def losses(proof: Proof) -> str:
    """Returns the losses of a training in words."""
    parts = [("first", proof.first), ("chance", proof.chance), ("final", proof.final)]
    return ", ".join(f"{name} {value:.3g}" for name, value in parts if value is not None)


def stored(table: Sequence[Observed]) -> dict[str, Any]:
    """Returns what was observed as plain values that `read` gives back, but for times, sentences and skipped rules."""
    return {"version": 1, "cases": [_stored(one) for one in table]}


def _stored(one: Observed) -> dict[str, Any]:
    values = asdict(one)
    if one.checked is not None:
        values["checked"] |= {"seconds": 0.0, "skipped": {}}
        values["checked"]["said"] = [{**said, "message": ""} for said in values["checked"]["said"]]
    return values


def read(values: Mapping[str, Any]) -> dict[str, Observed]:
    """Returns what was stored, by name of the case."""
    return {
        one["name"]: Observed(
            **{
                **one,
                "rules": tuple(one["rules"]),
                "checked": None if one["checked"] is None else Checked.read(one["checked"]),
                "proof": None if one["proof"] is None else Proof(**one["proof"]),
            }
        )
        for one in values["cases"]
    }
