"""Facts about gradients and updates: who gets one, from which step on, who never moved, what is only rounding."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from initscope.base.quantities import counted, percent, significant
from initscope.records.run import FloatArray, RunRecord
from initscope.report.fact import ORDINARY, Fact
from initscope.report.measured import NEVER, Measured, most_common_row
from initscope.report.naming import fitting, in_seeds, middle, parameter_names

ROUNDING_UNIT = {"float32": float(np.finfo(np.float32).eps), "float64": float(np.finfo(np.float64).eps)}
RESCALING = ("adam", "adamw", "adamax", "nadam", "radam", "adagrad", "rmsprop", "adadelta", "rprop")
"""Optimisers that divide a gradient by its own size, so that the size of a step does not depend on it."""
RESIDUE_UNITS = 32.0
"""A residue may be this many rounding units: sums of thousands of terms round more than once."""
HUGE_SIGNAL = 100.0
"""Signals at least this many times the baseline's let residues of rounding be as large as gradients."""


def divergence(m: Measured) -> Fact | None:
    """Tells how many runs left the finite numbers and when, or failed."""
    steps = [run.diverged_step for run in m.runs if run.status == "diverged"]
    failed = [run for run in m.runs if run.status == "failed"]
    if failed and not steps:
        what = failed[0].error.strip().splitlines()
        sentence = f"The engine failed {in_seeds(len(failed), len(m.runs))}" + (f": {what[0]}" if what else "") + "."
        return Fact(
            kind="failed", weight=100, sentence=sentence, headline=f"failed {in_seeds(len(failed), len(m.runs))}"
        )
    if not steps:
        return None
    known = np.array([step for step in steps if step is not None], dtype=np.float64)
    when = f", at step {middle(known)}" if known.size else ""
    first = middle(np.array([run.first_step_loss for run in m.runs if run.status == "diverged"]))
    where = in_seeds(len(steps), len(m.runs))
    return Fact(
        kind="diverged",
        weight=100,
        sentence=f"The loss left the finite numbers {where}{when}; it began at {first}.",
        headline=fitting(f"diverged {where}{when}", f"diverged {where}"),
    )


def rounding(m: Measured) -> Fact | None:
    """Tells whether the hidden layers' gradients at step 0 are residues of rounding that the runs are then decided by.

    So they are called where each is at most a few rounding units of the number format times the largest gradient of
    the same step and not all are exactly zero, while the last hidden layer's signal is huge.
    """
    norms, largest, hidden = _hidden_gradients(m)
    if not hidden or m.study.train.dtype not in ROUNDING_UNIT or not _huge_signal(m):
        return None
    unit = ROUNDING_UNIT[m.study.train.dtype]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = norms.max(axis=1) / largest
    residues = (ratio <= RESIDUE_UNITS * unit) & (ratio > 0)
    if 2 * int(residues.sum()) <= m.n:
        return None
    top, dtype, where = float(ratio[residues].max()), m.study.train.dtype, in_seeds(int(residues.sum()), m.n)
    sentence = (
        f"These runs are decided by rounding ({dtype}): at step 0 the gradients of the hidden layers are at most "
        f"{significant(top, digits=2)} times the largest gradient, and {dtype} itself rounds at "
        f"{significant(unit, digits=2)}, {where}{_turned_into_steps(m)}."
    )
    return Fact(kind="rounding", weight=95, sentence=sentence, headline=_rounding_headline(m, dtype, top))


def gradient_order(m: Measured) -> Fact | None:
    """Tells which parameters get a gradient at step 0, when the others first get one, and which never do."""
    firsts = m.first_gradient()
    row, count = most_common_row(firsts)
    if np.isnan(firsts).any() or any(probes.steps[0] != 0 for probes in m.probes):
        return None
    total, where = len(m.parameters), in_seeds(count, m.n)
    late = int((row > 0).sum())
    if not late:
        return Fact(
            kind="all-gradients",
            weight=35 if m.mostly_learned else ORDINARY,
            sentence=f"At step 0 every one of the {total} parameters gets a gradient that is not zero, {where}.",
            headline=f"all {total} parameters get a gradient at step 0",
        )
    never = bool((row == NEVER).any())
    return Fact(
        kind="never-gradient" if never else "late-gradient",
        weight=82 if never else 50,
        sentence=f"{_order_sentence(m, row)}, {where}.",
        headline=_order_headline(m, row, late),
    )


def moved(m: Measured) -> Fact | None:
    """Tells which parameters never moved: equal to their start to the bit at the end."""
    shares = m.end("unmoved_share")
    still = (shares == 1.0).astype(np.float64)
    row, count = most_common_row(still)
    resting, total = int(row.sum()), len(m.parameters)
    if not resting or np.isnan(shares).any():
        return None
    where = in_seeds(count, m.n)
    movers = _names(m, row == 0)
    if resting == total:
        return Fact(
            kind="never-moved",
            weight=90,
            sentence=f"No parameter ever moved, {where}.",
            headline=f"no parameter ever moved, {where}",
        )
    if resting > total / 2:
        others = "the other one equals its" if resting == 1 else f"the other {resting} parameters equal their"
        sentence = f"Only {movers} ever moved: {others} starting values to the bit after training, {where}."
        headline = fitting(
            f"only {movers} ever moved; {resting} of {total} parameters never did",
            f"{resting} of {total} parameters never moved",
        )
    else:
        names = _names(m, row == 1)
        sentence = f"{names} never moved: equal to the bit before and after training, {where}."
        headline = fitting(f"{names} never moved", f"{resting} of {total} parameters never moved")
    return Fact(kind="never-moved", weight=88, sentence=sentence, headline=headline)


def training(m: Measured) -> Fact | None:
    """Tells how far the training data themselves were learned, against the baseline."""
    mine = _medians(m.runs)
    other = _medians(m.baseline)
    if not math.isfinite(mine[0]) or not math.isfinite(mine[1]):
        return None
    against = (
        f", against {percent(other[0])} and {significant(other[1])} for the baseline" if math.isfinite(other[0]) else ""
    )
    sentence = (
        f"On the training data the median run ends at {percent(mine[0])} and loss {significant(mine[1])}{against}."
    )
    weight = 45 if m.judged and not m.mostly_learned and against else ORDINARY - 2
    headline = f"training accuracy ends at {percent(mine[0])}" + (
        f", the baseline's at {percent(other[0])}" if against else ""
    )
    return Fact(kind="training", weight=weight, sentence=sentence, headline=headline)


def _hidden_gradients(m: Measured) -> tuple[FloatArray, FloatArray, list[int]]:
    norms = m.start("gradient_norm")
    hidden = [index for index, path in enumerate(m.parameters) if path.rpartition(".")[0] in m.layers]
    return norms[:, hidden], norms.max(axis=1), hidden


def _huge_signal(m: Measured) -> bool:
    own = float(np.median(m.start("signal_rms")[:, -1])) if m.layers else math.nan
    base = m.baseline_start("signal_rms")
    usual = float(np.median(base[:, -1])) if base is not None else 1.0
    return own >= HUGE_SIGNAL * usual


def _turned_into_steps(m: Measured) -> str:
    optimizer = m.study.train.optimizer
    if optimizer.lower() not in RESCALING or m.study.train.dtype != "float32":
        return ""
    step = f"{m.study.train.learning_rate:g}"
    return f"; {optimizer} divides each by its own size and so turns it into a full step of {step}"


def _rounding_headline(m: Measured, dtype: str, top: float) -> str:
    same = ", 1 distinct unit a layer" if bool((m.end("distinct_units") == 1).all()) else ""
    size = significant(top, digits=1)
    return fitting(
        f"decided by {dtype} rounding: hidden gradients {size} of the largest{same}",
        f"decided by {dtype} rounding{same}",
    )


def _order_sentence(m: Measured, row: NDArray[np.float64]) -> str:
    steps, later = m.probes[0].steps, sorted({float(step) for step in row if 0 < step < NEVER})
    measured = counted(len(steps), "measured step")
    if not later:
        return f"The gradient of {_names(m, row == NEVER)} is exactly zero at step 0 and at every one of the {measured}"
    at_start = [f"in {_names(m, row == 0)} at step 0"] if (row == 0).any() else []
    waking = [f"in {_names(m, row == step)} {_by(step, steps)}" for step in later]
    never = [f"in {_names(m, row == NEVER)} at none of the {measured}"] if (row == NEVER).any() else []
    return f"Gradients other than zero first arrive {'; '.join(at_start + waking + never)}"


def _order_headline(m: Measured, row: NDArray[np.float64], late: int) -> str:
    total, last = len(m.parameters), float(row.max())
    start = f"{late} of {total} parameters get no gradient at step 0"
    if last == NEVER:
        never = int((row == NEVER).sum())
        return f"{never} of {total} parameters never get a gradient"
    return fitting(f"{start}; every one does {_by(last, m.probes[0].steps)}", start)


def _by(step: float, steps: NDArray[np.int64]) -> str:
    known = step == 0 or step - 1 in steps
    return f"{'at' if known else 'by'} step {step:.0f}"


def _names(m: Measured, chosen: NDArray[np.bool_]) -> str:
    return parameter_names([m.parameters[index] for index in np.flatnonzero(chosen)], m.parameters)


def _medians(runs: tuple[RunRecord, ...]) -> tuple[float, float]:
    return (
        _median([run.final_train_accuracy_percent for run in runs]),
        _median([run.final_train_loss for run in runs]),
    )


def _median(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan
