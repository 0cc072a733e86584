"""INI507 input-blind."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, log10

import torch
from torch import Tensor

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.chain_cures import method_for
from initscope.checker.instruments.graph import ancestors, layers, main_outputs, next_activation
from initscope.checker.instruments.pre_activations import after_probe, measured
from initscope.checker.instruments.tables import small_tables
from initscope.checker.instruments.trace import Moments, Trace
from initscope.checker.rule import Rule, register
from initscope.modules.arguments import call_of, leaves
from initscope.records.finding import Finding

BLIND = 1e-4


@register
class InputBlind(Rule):
    """Finds networks that give every sample of the batch the same answer.

    Why it is bad

    An output that does not depend on the input can only learn the mean of the targets, and the gradient of every weight
    before the place where the difference is lost says nothing of the samples.

    Criterion

    The difference between samples of every output, over its root mean square, is below 1e-4 at the start, and again
    after the steps of the escape probe; so is that of what the last layer reads: a small or zero head in front of
    features that differ is none. The samples of the batch must differ. Sound networks of the calibration have 1e-3 and
    more (a prior bias of -4.6 over a head of std 0.01), zero heads 0 at the start and 0.06 after the probe, blind ones
    3e-5 at most. Answers that are the same to the bit, at the start and after the probe, are blind whatever leads to
    them. Where rows of a small trainable table carry the difference it is a
    warning: Adam wakes them (hash grids of U(+-1e-4) under a default layer leave 5e-5, and train).

    When it is fine

    Zero heads, heads with a prior bias, outputs that are constant by design, a batch of one sample.

    Example

        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.GroupNorm(64, 64), nn.Flatten())    # norms of one value each

    Corrected

        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.GroupNorm(1, 64), nn.Flatten())

    Fix

    Find the layer where the difference is lost (the evidence names it); its weights or inputs are too small, or a
    normalisation takes it away.

    References

    Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, ICLR 2017.
    """

    code = "INI507"
    name = "input-blind"
    gravest = "error"
    needs = ("capture",)
    basis = "ratio"
    requires = (
        "non-finite",
        "uninitialised",
        "interchangeable-units",
        "layer-dead",
        "gradient-blocked",
        "signal-fades",
        "input-scale",
        "saturated",
    )
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields at most one finding."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        start = blindness(trace)
        if start is None or not _differ(evidence):
            return
        probed = after_probe(evidence)
        after = blindness(probed) if probed is not None else None
        if probed is not None and same_answers(trace) and same_answers(probed):
            start = after = 0.0
        if start >= BLIND or (probed is not None and (after is None or after >= BLIND)):
            return
        lost = _where_lost(trace)
        where = lost or f"({type(evidence.model).__name__})"
        shown = f"{start:.1g}" if start else "exactly 0"
        yield self.finding(
            f"all {trace.batch} samples get the same output: the difference between samples is {shown} of its size"
            + (f", and {after:.1g} after the probe" if after is not None else "")
            + (f"; it is lost at {lost}" if lost else ""),
            where=(where,),
            evidence={
                "between": start,
                "after_probe": after,
                "samples": trace.batch,
                "lost_at": lost or None,
                "margin_log10": round(log10(BLIND / max(start, 1e-12)), 3),
            },
            fix=_fix(evidence, trace, lost),
            severity="warn" if after is None or (after > 0 and small_tables(evidence, trace)) else "error",
            confidence=f"{shown} of its size, sound networks at least 1e-3",
            location=evidence.locate(where),
        )

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """An error explains it; a warning only where it says that the input itself is too small."""
        return cause.severity == "error" or cause.name in ("input-scale", "signal-fades")


def blindness(trace: Trace) -> float | None:
    """Returns the largest difference between samples, over the size, of the outputs and what their layers read.

    Features count in proportion to the output where that is larger: rounding errors around zero tell nothing apart.
    None where it cannot be told (one sample, outputs without numbers).
    """
    shares = []
    for index in main_outputs(trace):
        answer = measured(trace, index)
        found = _share(answer, least=0.0)
        if found is None or answer is None:
            continue
        features = _features(trace, index)
        inner = _share(measured(trace, features), least=answer.rms) if features is not None else None
        shares.append(max(found, inner or 0.0))
    return max(shares, default=None)


def same_answers(trace: Trace) -> bool:
    """Returns whether every output is the same for all samples, to the bit, and not zero, whatever leads to it."""
    answers = [measured(trace, index) for index in main_outputs(trace)]
    return bool(answers) and all(one is not None and one.between == 0 and one.rms > 0 for one in answers)


def _share(moments: Moments | None, *, least: float) -> float | None:
    """The difference between samples over the root mean square, or over `least` where that is more."""
    if moments is None or not moments.finite or not isfinite(moments.between):
        return None
    size = max(moments.rms, least)
    return moments.between / size if size > 0 else 0.0


def _features(trace: Trace, value: int) -> int | None:
    """What the last layer before an output reads."""
    while (op := trace.producer(value)) is not None and trace.data_operands(op):
        value = trace.data_operands(op)[0]
        if op.kind in ("linear", "matmul", "lookup"):
            return value
    return None


def _where_lost(trace: Trace) -> str:
    """The module of the first operator, on the way to the outputs, behind which every sample is the same."""
    inside = ancestors(trace, main_outputs(trace))
    for op in trace.forward_ops():
        moments = trace.values[op.result].forward if op.result in inside else None
        share = _share(moments, least=0.0)
        if share is not None and share < BLIND and trace.values[op.result].sample_axis is not None:
            return op.weight.rpartition(".")[0] or op.module
    return ""


def _fix(evidence: Evidence, trace: Trace, lost: str) -> str:
    """A start that keeps differences alive, for every layer by what reads it."""
    where = lost or type(evidence.model).__name__
    entries: dict[str, str] = {}
    for layer in layers(trace):
        behind = next_activation(trace, layer.value)
        entries[layer.weight] = method_for(behind.name if behind is not None else "")
    shown = ", ".join(f'"{path}": "{method}"' for path, method in entries.items())
    call = f"initscope.initialize(model, {{{shown}}})"
    return f"{call}  # and see that {where} gets inputs near 1 and no norm over a single value"


def _differ(evidence: Evidence) -> bool:
    """Whether the samples of the batch differ in some input by more than rounding."""
    for tensor in leaves(call_of(evidence.inputs)):
        if isinstance(tensor, Tensor) and tensor.ndim and tensor.shape[0] > 1 and tensor.numel():
            wide = tensor.detach().to(torch.complex128 if tensor.is_complex() else torch.float64)
            if not torch.equal(wide, wide[:1].expand_as(wide)):
                return True
    return False
