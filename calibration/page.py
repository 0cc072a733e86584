"""The page of the docs that says how well the checker is calibrated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from calibration.records import Observed
from calibration.report import HEADER, foretold_rows, losses, row, totals
from calibration.scores import foretold, overall, rule_scores

PAGE = """\
<!-- Written by `make calibrate ARGS="--prove --write"`; do not edit. -->
# Calibration of `initscope check`

The checker is tried on {counts}. All of them stand in `calibration/`, and `make calibrate` checks them again.

## How the labels were proven

Each broken network stands beside its repaired twin and is trained like it: a few hundred updates, {seeds} seeds each.
It counts as broken where its median run gets at most {progress:.0%} of the way from chance (the loss of the best
constant output) to the twin's median final loss, and its best run is worse than the twin's worst. A twin or a healthy
design counts as sound where its median run ends at least {below:.0%} of chance below chance (below the first loss
where no constant can be fitted). Where a short training cannot show a fault (a layer that is never used, a seed
inside a constructor), the case says so and is left out of the figures on training. Architectures are taken as sound
because people train them.

{proven}

## What the checker says

{totals}

| {header} |
|---{rule_line}
{rules}

*hits*: broken networks with this cause on which the rule spoke; *else*: it was silent and another right cause was
named; *missed*: no right cause was named; *errors*, *warns*: sound networks on which it spoke; *stray*: broken
networks with another cause on which it gave an error. The margins are log10 distances to the rule's threshold, the
smallest on hits and the largest on sound networks, where a rule has one.

## Does it matter?

A finding is right about training where the network trained badly: a broken one clearly worse than its twin, any other
one not clearly below chance. Precision is the share of findings (errors and warnings) after which training went
badly; recall the share of badly trained networks with this cause on which the rule spoke. Both hold for this table,
which has far more broken networks than the world has.

| {foretold_header} |
|---{foretold_line}
{foretold}

## Broken networks

| name | causes | what is wrong | training |
|---|---|---|---|
{broken}

## Healthy designs

| name | family | why it is sound | training |
|---|---|---|---|
{healthy}

## Architectures

{architectures}
"""


def page(table: Sequence[Observed], gravest: Mapping[str, str], *, seeds: int, progress: float, below: float) -> str:
    """Returns the page of the docs, in Markdown."""
    rows = foretold_rows(foretold(table, gravest))
    return PAGE.format(
        counts=_counts(table),
        seeds=seeds,
        progress=progress,
        below=below,
        proven="\n".join(_proven(table)),
        totals="\n".join(f"* {line}" for line in totals(overall(table))),
        header=" | ".join(HEADER),
        rule_line="|---:" * (len(HEADER) - 1) + "|",
        rules="\n".join(_cells(row(score)) for score in rule_scores(table, gravest)),
        foretold_header=" | ".join(rows[0]),
        foretold_line="|---:" * (len(rows[0]) - 1) + "|",
        foretold="\n".join(_cells(row) for row in rows[1:]),
        broken="\n".join(
            _cells((one.name, ", ".join(one.rules), one.why, _trained(one))) for one in table if one.kind == "broken"
        ),
        healthy="\n".join(
            _cells((one.name, one.family, one.why, _trained(one))) for one in table if one.kind == "healthy"
        ),
        architectures=", ".join(one.name for one in table if one.kind == "architecture") + ".",
    )


def _counts(table: Sequence[Observed]) -> str:
    counts = Counter(one.kind for one in table)
    return (
        f"{counts['broken']} broken networks, their {counts['twin']} repaired twins, "
        f"{counts['healthy']} healthy designs and {counts['architecture']} architectures with random weights"
    )


def _proven(table: Sequence[Observed]) -> list[str]:
    lines = []
    for kind, what in (("broken", "broken networks"), ("twin", "twins"), ("healthy", "healthy designs")):
        proofs = [one.proof for one in table if one.kind == kind and one.proof is not None]
        trained = [proof for proof in proofs if proof.proven is not None]
        lines.append(f"* {what}: {sum(bool(proof.proven) for proof in trained)} of {len(trained)} trained ones proven")
    return lines


def _trained(one: Observed) -> str:
    if one.proof is None:
        return "not tried"
    if one.proof.proven is None:
        return f"not trained: {one.proof.text}"
    return ("" if one.proof.proven else "**not proven** ") + (one.proof.text or losses(one.proof))


def _cells(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
