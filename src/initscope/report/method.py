"""How a study was done and by what: protocol, statistics and provenance as rows of label and text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from initscope.base.quantities import counted, duration
from initscope.records.results import Results
from initscope.stats.paired import EXACT_PAIRS, MINIMUM_PAIRS
from initscope.stats.summary import ConditionSummary

Rows = tuple[tuple[str, str], ...]


def protocol(results: Results) -> Rows:
    """Returns what was done, in the words of the study file."""
    study, train = results.study, results.study.train
    tests = sorted({run.n_test for run in results.runs if run.n_test})
    held_out = f"{100 * study.data.test_fraction:g} % of the samples at random, drawn anew for every seed"
    options = "".join(f", {key} {value}" for key, value in train.optimizer_options.items())
    return (
        (
            "data",
            _data(results),
        ),
        (
            "held out for testing",
            held_out + (f" ({' or '.join(str(size) for size in tests)} samples)" if tests else ""),
        ),
        ("network", _network(results)),
        ("loss", "cross entropy"),
        (
            "optimiser",
            f"{train.optimizer}, learning rate {train.learning_rate:g}{options or ', the rest at its defaults'}",
        ),
        ("batches", f"{train.batch_size} samples, reshuffled every epoch, the incomplete last one dropped"),
        ("length", f"{counted(train.epochs, 'epoch')}{_steps(results)}, {train.dtype}"),
        ("seeds", f"{len(results.seeds)} a condition; root seed {study.root_seed}"),
        (
            "paired",
            "conditions of one seed share split, shuffles and default draw; they differ in what is overwritten only",
        ),
        (
            "curves",
            "training: mean over the batches, each before its update; test: the whole held-out set after the epoch",
        ),
    )


def statistics(rows: Sequence[ConditionSummary]) -> Rows:
    """Returns how the numbers were made: n, what varies, kind and level of the intervals, the correction."""
    sizes = sorted({row.n for row in rows})
    level = next((f"{100 * row.interval.level:g} %" for row in rows), "95 %")
    compared = sum(row.paired is not None and row.paired.n >= MINIMUM_PAIRS for row in rows)
    return (
        ("n", f"{' or '.join(str(size) for size in sizes)} runs a condition, one a seed"),
        ("what varies", "the seed: held-out split, shuffles and every random draw of the start"),
        (
            "at chance",
            "final test accuracy within four binomial standard errors of some class's share of that run's test set",
        ),
        (
            "learned",
            "not at chance, and at least half the way from chance to the baseline's median; partly: neither",
        ),
        ("shares", f"Wilson interval, {level}"),
        (
            "differences",
            f"condition minus baseline within a seed, in percentage points; mean with Student's t interval, {level}",
        ),
        (
            "significance",
            _test(compared),
        ),
    )


def provenance(results: Results) -> Rows:
    """Returns where data and runs come from, with their hashes."""
    data = results.data
    seconds = sum(run.wall_s for run in results.runs)
    return (
        ("data source", data.source),
        ("data SHA-256", data.sha256),
        *((("data licence", data.licence),) if data.licence else ()),
        ("study SHA-256", hashlib.sha256(results.study.model_dump_json().encode()).hexdigest()),
        ("runs SHA-256", fingerprint(results)),
        ("runs", f"{len(results.runs)}, {duration(seconds)} of training"),
    )


def fingerprint(results: Results) -> str:
    """Returns the SHA-256 of the sorted keys of all runs: equal where the same runs were made."""
    return hashlib.sha256("\n".join(sorted(run.key for run in results.runs)).encode()).hexdigest()


def sessions(results: Results) -> tuple[Rows, ...]:
    """Returns one block of rows for every session that trained runs."""
    return tuple(
        (
            ("started", each.started),
            ("command", each.command),
            ("initscope", f"{each.initscope}, engine {each.engine}"),
            ("python, torch, numpy", f"{each.python}, {each.torch}, {each.numpy}"),
            ("platform", each.platform),
            ("processor", each.processor),
            ("device", f"{each.device}, {counted(each.workers, 'worker')}"),
        )
        for each in results.environments
    )


def _data(results: Results) -> str:
    data = results.data
    sizes = f"{data.n_samples:,} samples, {data.n_features} features, {data.n_classes} classes"
    return f"{data.name}: {sizes}, divided by {data.scale:g}"


def _test(compared: int) -> str:
    return (
        f"two-sided sign-flip test of the mean difference (exact up to {EXACT_PAIRS} pairs), adjusted after Holm "
        f"for {counted(compared, 'comparison')}; none claimed below {MINIMUM_PAIRS} pairs"
    )


def _network(results: Results) -> str:
    model, data = results.study.model, results.data
    if model.factory is not None:
        return f"{model.factory}, {data.n_features} inputs, {data.n_classes} outputs"
    widths = (data.n_features, *model.hidden, data.n_classes)
    return f"{model.label}: {' → '.join(str(width) for width in widths)}, {model.activation} between"


def _steps(results: Results) -> str:
    steps = sorted({run.steps for run in results.runs if run.status == "finished"})
    return f", {steps[0]:,} updates" if len(steps) == 1 else ""
