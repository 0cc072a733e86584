"""INI603 dtype-headroom."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.headroom import Peak, backward_peaks, forward_peaks, tiny_gradients
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

ROOM = 1 / 8
"""Share of the largest number of a type from which a peak is too near to it."""

TINY = 0.8
"""Share of the non-zero gradient entries below the smallest normal number."""

FEW = 64
"""Gradient entries under which a share says nothing."""

NARROW = ("float16",)
"""Types whose smallest normal number is within reach of sound gradients."""


@register
class DtypeHeadroom(Rule):
    """Finds activations and gradients that come near the largest number of their type, or lie below its smallest
    normal one.

    Why it is bad

    float16 ends at 65504: a peak eight times below it overflows within the first hundreds of steps, and one overflow
    is an infinite loss. At the other end, gradients below 6.1e-5 lose their bits one by one and become zero below
    6e-8.

    Criterion

    Of every value in float16, bfloat16 or float32, forward and backward: the largest magnitude above one eighth of
    the largest number is a warning, an overflow of float16 an error. In float16, more than four fifths of all
    non-zero gradient entries below the smallest normal number are a warning (sound: at most 0.31, broken: 1.00). The
    sound float16 networks of the calibration peak at 0.002 of the largest number; broken ones at 0.22 and more.

    When it is fine

    Masks of -65504 or the like that are filled or added before a softmax do not count, nor does anything in a wider
    type. Gradients that a loss scaler multiplies are out of sight here: with one in use, allow the rule for that
    reason.

    Example

        x = self.emb(ids).half() * 96; x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True))

    Corrected

        wide = x.float(); x = (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True))).half()

    Fix

    Smaller weights or inputs, bfloat16, squares and sums in float32; for tiny gradients a loss scaler or bfloat16.

    References

    transformers issue 12225, DeepSpeed issue 697.
    """

    code = "INI603"
    name = "dtype-headroom"
    gravest = "error"
    needs = ("capture",)
    basis = "exact"
    data_dependent = True
    requires = ("uninitialised",)

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields at most one finding a type for the forward pass, the peaks of gradients, and tiny gradients."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        for dtype in ("float16", "bfloat16", "float32"):
            if all(one.dtype != dtype for one in trace.values):
                continue
            forward = list(forward_peaks(trace, dtype, room=ROOM))
            if dtype != "float16" and any(math.isinf(one.peak) for one in forward):
                continue  # a wide type does not overflow by a narrow margin: signal-grows and non-finite say what grew
            if forward:
                yield self._peaks(evidence, forward, "the result of {name} in {place} reaches", dtype)
            gradient = list(backward_peaks(trace, dtype, room=ROOM))
            if gradient and not forward and (dtype == "float16" or all(math.isfinite(one.peak) for one in gradient)):
                yield self._peaks(
                    evidence, gradient[::-1], "the gradient of what {name} gives in {place} reaches", dtype
                )
        if evidence.gradients is True and evidence.user_loss:
            yield from self._tiny(evidence, trace)

    def _peaks(self, evidence: Evidence, peaks: list[Peak], told: str, dtype: str) -> Finding:
        overflow = [one for one in peaks if math.isinf(one.peak)]
        worst = overflow[0] if overflow else max(peaks, key=lambda one: one.peak)
        op = worst.op
        place = (op.module if op is not None else "") or type(evidence.model).__name__
        where = [*(one for one in ((op.module, op.weight) if op is not None else ()) if one)] or [
            f"({type(evidence.model).__name__})"
        ]
        reached = "infinity" if overflow else f"{worst.peak:.3g}, {worst.share:.2g} of the largest number"
        means = "the type has overflowed" if overflow else "the first larger batch or step overflows"
        return self.finding(
            f"{told.format(name=op.name if op is not None else 'an input', place=place)} {reached} in {dtype} "
            f"({worst.limit:.5g}): {means}",
            where=where,
            evidence={
                "dtype": dtype,
                "peak": worst.peak,
                "largest": worst.limit,
                "overflow": bool(overflow),
                "values": len(peaks),
                "margin_log10": round(math.log10(min(worst.share, 1.0) / ROOM), 3),
            },
            fix="compute this operator in float32 (x.float() before, .to(x.dtype) after), or build the model "
            "in bfloat16; else make the "
            f"weights or inputs before it {8 * min(worst.share, 1.0) / ROOM:.3g} times smaller",
            severity="error" if overflow else "warn",
            location=op.place if op is not None else None,
        )

    def _tiny(self, evidence: Evidence, trace: Trace) -> Iterator[Finding]:
        for dtype in NARROW:
            share, entries, rms = tiny_gradients(trace, dtype)
            if entries < FEW or share <= TINY:
                continue
            low = sorted(
                (
                    one
                    for one in trace.values
                    if one.dtype == dtype and one.op is not None and one.backward is not None and one.backward.finite
                ),
                key=lambda one: -one.backward.tiny_share if one.backward is not None else 0.0,
            )
            op = trace.ops[low[0].op] if low and low[0].op is not None else None
            yield self.finding(
                f"{share:.0%} of the {entries} non-zero gradient entries in {dtype} lie below its smallest normal "
                "number 6.1e-05: they lose "
                "their bits, then vanish",
                where=[(op.module if op is not None else "") or f"({type(evidence.model).__name__})"],
                evidence={
                    "dtype": dtype,
                    "tiny_share": share,
                    "entries": entries,
                    "gradient_rms": rms,
                    "margin_log10": round(math.log10(share / TINY), 3),
                },
                fix="scale the loss (torch.amp.GradScaler with float32 weights), sum instead of mean over pixels "
                "or tokens, or use bfloat16",
                severity="warn",
            )
