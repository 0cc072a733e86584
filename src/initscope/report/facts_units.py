"""Facts about units and signals: dead layers, starved or equal units, inputs that look the same, odd signal sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initscope.base.quantities import percent, significant
from initscope.records.run import FloatArray
from initscope.report.fact import ORDINARY, Fact
from initscope.report.measured import Measured, most_common_row
from initscope.report.naming import fitting, in_seeds, listed, middle

SAME_INPUT = 1e-6
"""Share of the signal that depends on the input below which every input looks the same; rounding leaves about 1e-8."""
MORE_UNMOVED = 0.05
"""Share of a layer's biases at rest, beyond the baseline's, that is worth telling."""
ODD_SIGNAL = 3.0
"""A starting signal this many times above or below the baseline's is worth telling."""


def dead_layers(m: Measured) -> Fact | None:
    """Tells in how many seeds a whole hidden layer is dead at the end, since when, and how that goes with learning."""
    since = m.dead_since()
    if not m.layers or np.isnan(m.end("dead_units")).any():
        return None
    dead: NDArray[np.bool_] = np.asarray(np.isfinite(since).any(axis=1), dtype=np.bool_)
    if not dead.any():
        where = "in the one seed" if m.n == 1 else f"in any of {m.n} seeds"
        sentence = f"No hidden layer is dead at the end {where}."
        return Fact(
            kind="alive",
            weight=34 if m.mostly_learned else ORDINARY - 1,
            sentence=sentence,
            headline="no hidden layer dies in any seed",
        )
    if bool(dead.all()) and bool((since == 0).all()):
        sentence = (
            f"Every unit of {listed(m.layers)} is dead (zero for every test sample) from step 0 to the end, "
            f"{in_seeds(m.n, m.n)}."
        )
        return Fact(
            kind="dead-layers",
            weight=72,
            sentence=sentence,
            headline="every hidden unit is dead from step 0 to the end",
        )
    if m.judged and bool(m.learned.any()) and not bool(m.learned.all()):
        return _split_by_death(m, dead, since)
    sentence = f"A whole hidden layer is dead at the end {in_seeds(int(dead.sum()), m.n)}{_where_and_when(m, since)}."
    headline = fitting(
        f"a hidden layer is dead {in_seeds(int(dead.sum()), m.n)}{_latest(since)}", "a hidden layer is dead"
    )
    return Fact(kind="dead-layers", weight=70, sentence=sentence, headline=headline)


def starved_units(m: Measured) -> Fact | None:
    """Tells how many units of a layer never moved, beyond the baseline's, and whether the seeds learned anyway."""
    usual = _usually_unmoved(m)
    starved = _starved_layers(m, usual)
    if not starved:
        return None
    hardly = m.baseline and all(usual[m.parameters.index(f"{layer}.bias")] < MORE_UNMOVED for layer in starved)
    others = "; in the baseline hardly any" if hardly else ""
    yet = f", yet {int(m.learned.sum())} of {m.n} seeds learned with the others" if m.mostly_learned else ""
    units = dict(zip(m.layers, m.units, strict=True))
    counts = [f"{middle(share * units[layer])} of {units[layer]:.0f} in {layer}" for layer, share in starved.items()]
    most = percent(100 * max(float(np.nanmedian(share)) for share in starved.values()), digits=0)
    return Fact(
        kind="starved-units",
        weight=48,
        sentence=f"Units whose bias never moved, median over seeds: {listed(counts)}{others}{yet}.",
        headline=fitting(f"{most} of the units of {listed(list(starved))} never moved{yet}", "many units never moved"),
    )


def equal_units(m: Measured) -> Fact | None:
    """Tells how many distinct units each layer has at the start and at the end, to the bit or else within tolerance."""
    start, end = m.start("distinct_units"), m.end("distinct_units")
    if not m.layers or np.isnan(start).any() or np.isnan(end).any():
        return None
    exact = _widths(m, start, end)
    if _few(m, start) or _few(m, end):
        for_ever = bool((start == 1).all() and (end == 1).all())
        return Fact(
            kind="equal-units",
            weight=80 if bool((end == 1).all()) else 55,
            sentence=f"Distinct units, to the bit{exact}.",
            headline="1 distinct unit in every hidden layer, from start to end"
            if for_ever
            else fitting(f"distinct units{exact}", "few distinct units"),
        )
    near_start, near_end = np.minimum(m.start("similar_groups"), start), np.minimum(m.end("similar_groups"), end)
    if _few(m, near_start):
        near = _widths(m, near_start, near_end)
        reach = f"{100 * m.probes[0].tolerance:g} % of the largest row"
        sentence = f"All units differ to the bit, but those within {reach} form few groups{near}."
        return Fact(
            kind="similar-units",
            weight=52,
            sentence=sentence,
            headline=fitting(f"few distinct units{near}", "few distinct units"),
        )
    return Fact(
        kind="distinct-units",
        weight=ORDINARY - 3,
        sentence=f"Distinct units, to the bit{exact}.",
        headline="all units stay distinct",
    )


def same_input(m: Measured) -> Fact | None:
    """Tells from which layer on every input looks the same at the start, and where it still does at the end."""
    alike = _alike(m.start("input_share"), m.start("signal_rms"))
    row, count = most_common_row(alike.astype(np.float64))
    if not row.any():
        return None
    names = listed([name for name, flag in zip(m.layers, row, strict=True) if flag])
    at_end = _alike(m.end("input_share"), m.end("signal_rms"))[:, -1]
    still = f"; at the end {m.layers[-1]} tells inputs apart {in_seeds(int((~at_end).sum()), m.n)}"
    split = m.judged and bool(m.learned.any()) and not bool(m.learned.all())
    still += ", exactly those that learned" if split and np.array_equal(~at_end, m.learned) else ""
    return Fact(
        kind="same-input",
        weight=58 if at_end.any() else 46,
        sentence=(
            f"At the start every input looks the same in {names}: none of the signal depends on it, "
            f"{in_seeds(count, m.n)}{still}."
        ),
        headline=fitting(
            f"every input looks the same in {names} at the start", "every input looks the same at the start"
        ),
    )


def odd_signal(m: Measured) -> Fact | None:
    """Tells where the signal at the start is far larger or smaller than the baseline's."""
    base = m.baseline_start("signal_rms")
    if base is None or not m.layers:
        return None
    own, usual = np.median(m.start("signal_rms"), axis=0), np.median(base, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(np.log(own / usual))
    if not np.isfinite(distance).any() or float(np.nanmax(np.where(np.isfinite(distance), distance, 0.0))) < np.log(
        ODD_SIGNAL
    ):
        return None
    layer = int(np.argmax(np.where(np.isfinite(distance), distance, -1.0)))
    ratio = significant(float(own[layer] / usual[layer]), digits=2)
    sizes = f"{significant(float(own[layer]))} against {significant(float(usual[layer]))}"
    return Fact(
        kind="odd-signal",
        weight=60 if own[layer] > 100 * usual[layer] else 32,
        sentence=(
            f"The signal of {m.layers[layer]} starts at {ratio} times the baseline's "
            f"(root mean square {sizes}, medians over seeds)."
        ),
        headline=f"the signal of {m.layers[layer]} starts at {ratio} times the baseline's",
    )


def _usually_unmoved(m: Measured) -> FloatArray:
    base = [run.probes.unmoved_share[-1] for run in m.baseline if run.probes is not None]
    fits = bool(base) and base[0].shape == (len(m.parameters),)
    return np.asarray(np.median(np.stack(base), axis=0) if fits else np.zeros(len(m.parameters)), dtype=np.float64)


def _starved_layers(m: Measured, usual: FloatArray) -> dict[str, FloatArray]:
    """Layers with more resting biases than usual, short of all in every run, with their shares as Float "run"."""
    found, unmoved = {}, m.end("unmoved_share")
    for layer in m.layers:
        index = m.parameters.index(f"{layer}.bias") if f"{layer}.bias" in m.parameters else None
        if index is None or np.isnan(unmoved[:, index]).all():
            continue
        share = unmoved[:, index]
        if float(np.nanmedian(share)) >= usual[index] + MORE_UNMOVED and not bool((share == 1.0).all()):
            found[layer] = share
    return found


def _split_by_death(m: Measured, dead: NDArray[np.bool_], since: FloatArray) -> Fact:
    chance = np.array([outcome == "at chance" for outcome in m.outcomes])
    lost, name, others = ~m.learned, "did not learn", "that learned"
    if chance.any() and bool(np.array_equal(dead, chance)):
        lost, name, others = chance, "stayed at chance", "others" if (~m.learned & ~chance).any() else "that learned"
    n_lost, n_others = int(lost.sum()), int((~lost).sum())
    dead_lost, dead_others = int(dead[lost].sum()), int(dead[~lost].sum())
    rest = f"in {dead_others} of {n_others} {others}"
    where = f"{dead_lost} of the {n_lost} seeds that {name} and in {dead_others or 'none'} of the {n_others} {others}"
    return Fact(
        kind="dead-layers",
        weight=84 if dead_lost == n_lost and not dead_others else 60,
        sentence=f"A whole hidden layer is dead at the end in {where}{_where_and_when(m, since)}.",
        headline=fitting(
            f"a whole layer is dead in {dead_lost} of {n_lost} seeds that {name}, {rest}",
            f"a layer is dead in {dead_lost} of {n_lost} that {name}, {rest}",
        ),
    )


def _where_and_when(m: Measured, since: FloatArray) -> str:
    counts = np.isfinite(since).sum(axis=0)
    where = [f"{name} in {count}" for name, count in zip(m.layers, counts, strict=True) if count]
    return f" ({listed(where)}{_latest(since)})"


def _latest(since: FloatArray) -> str:
    earliest = since.min(axis=1)
    return f"; by step {earliest[np.isfinite(earliest)].max():.0f} at the latest"


def _few(m: Measured, distinct: FloatArray) -> bool:
    return bool((np.median(distinct, axis=0) <= m.units / 2).any())


def _widths(m: Measured, start: FloatArray, end: FloatArray) -> str:
    at_start = [f"{layer} {middle(start[:, index])} of {m.units[index]:.0f}" for index, layer in enumerate(m.layers)]
    if np.array_equal(start, end):
        return f", at the start and still at the end: {listed(at_start)} ({in_seeds(m.n, m.n)})"
    at_end = [f"{layer} {middle(end[:, index])}" for index, layer in enumerate(m.layers)]
    return f", at the start: {listed(at_start)}; at the end: {listed(at_end)} ({_spread(m.n)})"


def _spread(n: int) -> str:
    return "one seed" if n == 1 else f"median and range of {n} seeds"


def _alike(share: FloatArray, signal: FloatArray) -> NDArray[np.bool_]:
    return np.asarray((share <= SAME_INPUT) | (signal == 0.0), dtype=np.bool_)
