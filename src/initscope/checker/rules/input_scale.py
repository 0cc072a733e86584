"""INI404 input-scale."""

from __future__ import annotations

from collections.abc import Iterable
from math import log10

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.input_tables import Entry, Features, entries, features_of
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

LARGE, PUSH = 15.0, 10.0
SMALL, DROWNED = 1e-2, 1e-2


@register
class InputScale(Rule):
    """Finds inputs whose scale is far from one and goes straight into the first layer.

    Why it is bad

    Initialisation schemes assume inputs around zero with a deviation of one. Bytes, prices, metres or temperatures in
    kelvin multiply everything behind them, saturate what saturates, and leave one feature, or one common offset, to
    speak for all; values in the millionths vanish beside the biases.

    Criterion

    A floating input reaches a layer through nothing but constants, shapes and poolings, and no normalisation reads
    that layer's result. Too large: its root mean square there is above 15, and it adds more than 10 to the
    pre-activations (size times sqrt(fan-in) times the weights' root mean square). Too small: its root mean square is
    below 0.01, and the difference it makes to the pre-activations is below a hundredth of what the biases make. Sound
    networks of the calibration have inputs of 2 at most, broken ones 100 to 4200, or a millionth.

    When it is fine

    Token ids, one-hot vectors, images in 0 ... 1, coordinates in -1 ... 1, whatever is normalised by the first layer
    or by the one behind it.

    Example

        net(images.float())    # 0 ... 255

    Corrected

        net(images.float() / 255)

    Fix

    Subtract the mean and divide by the standard deviation, feature by feature; the fix has the numbers of this batch.

    References

    LeCun, Bottou, Orr, Mueller, Efficient BackProp, 1998, section 4.3. Reports: siren #19.
    """

    code = "INI404"
    name = "input-scale"
    gravest = "warn"
    needs = ("capture", "batch")
    basis = "heuristic"
    requires = ("non-finite", "uninitialised")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each input that is far out."""
        seen = set()
        for entry in entries(evidence):
            if entry.normalised or entry.path in seen:
                continue
            large = entry.size >= LARGE and entry.push >= PUSH
            if large or _drowned(entry):
                seen.add(entry.path)
                yield self._finding(evidence, entry, large=large)

    def _finding(self, evidence: Evidence, entry: Entry, *, large: bool) -> Finding:
        features = features_of(entry.tensor, entry.op)
        name = f"input {entry.path}" if entry.path.isdigit() else entry.path
        layer = entry.weight.rpartition(".")[0] or entry.weight
        result, worst = entry.result, features.worst
        told = f" (feature {worst}: mean {features.means[worst]:.3g}, std {features.stds[worst]:.3g})"
        meaning = (
            f"it puts {entry.push:.3g} into the pre-activations of {layer}, where 1 is wanted"
            if large
            else f"what it adds to {layer} is lost beside the biases: all samples look alike"
        )
        return self.finding(
            f"{name} has a root mean square of {entry.size:.3g} where {layer} reads it{told}: {meaning}",
            where=(layer,),
            evidence={
                "input": entry.path,
                "rms": entry.size,
                "push": entry.push,
                "pre_activation_rms": result.rms if result is not None else None,
                "pre_activation_spread": result.spread if result is not None else None,
                "worst_feature": worst,
                "worst_mean": features.means[worst],
                "worst_std": features.stds[worst],
                "margin_log10": round(log10(entry.size / LARGE if large else SMALL / max(entry.size, 1e-30)), 3),
            },
            fix=_normaliser(entry, features),
            confidence=f"{entry.size:.3g}, sound inputs lie between 0.01 and 15",
            location=entry.op.place or evidence.locate(entry.weight),
        )


def _drowned(entry: Entry) -> bool:
    result = entry.result
    if entry.joined or result is None or not result.finite or not 0 < entry.size < SMALL:
        return False
    return result.spread < DROWNED * result.rms or entry.size < SMALL**2


def _normaliser(entry: Entry, features: Features) -> str:
    """The line that brings an input to mean zero and deviation one, with the numbers of this batch."""
    name = "x" if entry.path.isdigit() else entry.path
    if not entry.raw:
        return f"divide {name} by {entry.size:.3g} before {entry.weight.rpartition('.')[0] or entry.weight} reads it"
    if len(features.means) > 16:
        return f"{name} = ({name} - {features.mean:.4g}) / {features.std or 1.0:.4g}"
    means = ", ".join(f"{value:.4g}" for value in features.means)
    stds = ", ".join(f"{value or 1.0:.4g}" for value in features.stds)
    view = ""
    if features.axis != features.ndim - 1:
        view = f".view({', '.join('-1' if axis == features.axis else '1' for axis in range(features.ndim))})"
    return f"{name} = ({name} - torch.tensor([{means}]){view}) / torch.tensor([{stds}]){view}"
