"""INI703 seed-inside."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from torch import Tensor, nn

from initscope.checker.evidence import Builds, Evidence
from initscope.checker.instruments.naming import counted
from initscope.checker.instruments.writes import replaces_values
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding, Location

ENTRIES = 64
"""Entries that values must have to be called draws without a record of one."""


@register
class SeedInside(Rule):
    """Finds random weights that do not depend on the caller's seed.

    Why it is bad

    A model that seeds a generator while it is built starts the same in every run: ten seeds of a study are one,
    members of an ensemble are copies, and everything else that draws from the global generator afterwards repeats
    itself too.

    Criterion

    Two builds under different global seeds give bitwise equal values in tensors that an operator drew, or whose
    values look drawn (no constant, no repeated entries, neighbours without correlation). The lines that seeded a
    global generator are named; where one of them stands in the class of a module, which every caller of that class
    meets, it is a warning, else information. Loaded weights look drawn, too: then nothing is wrong.

    When it is fine

    Factories that are meant to be reproducible (tests), fixed random features, weights from a file.

    Example

        def __init__(self):
            torch.manual_seed(42)

    Corrected

        torch.manual_seed(seed)      # by the caller, before the model is built
        model = Net()

    Fix

    Leave the seed to the caller, or take a `torch.Generator` as an argument.

    References

    Report 4 of the collection behind this catalogue (an ensemble whose members were one network).
    """

    code = "INI703"
    name = "seed-inside"
    gravest = "warn"
    needs = ("builds", "seeds")
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for the model."""
        builds = evidence.builds
        assert isinstance(builds, Builds)
        if not builds.second_seed:
            return
        tensors = dict(evidence.model.named_parameters())
        equal = [path for path in builds.equal_in_seeds if path in tensors and not evidence.parameters[path].constant]
        drawn = [path for path in tensors if path in equal and _is_draw(builds, path)]
        foreign = [path for path in tensors if path in equal and path not in drawn and _looks_drawn(tensors[path])]
        changing = [path for path in tensors if path not in builds.equal_in_seeds]
        if not drawn and not foreign:
            return
        found = drawn or foreign
        inside = _in_constructors(evidence.model, builds.seed_calls)
        line = next(iter((*inside, *builds.seed_calls)), None)
        who = "a module's own class" if inside else "the factory"
        why = (
            f"{who} seeds a global generator at {line.file.rpartition('/')[2]}:{line.line}"
            if line is not None
            else (
                "they come from a generator with a seed of its own"
                if drawn
                else "they come from a generator that is not torch's, or from a file"
            )
        )
        yield self.finding(
            f"{counted(found)} {'hold' if len(found) > 1 else 'holds'} bit for bit the same values under two seeds of "
            f"the caller's: {why}, so "
            "all runs start alike",
            where=found,
            evidence={"equal": len(found), "changing": len(changing), "seed_calls": len(builds.seed_calls)},
            fix="seed once, before the factory is called, draw from the global generator; or take a torch.Generator",
            severity="warn" if inside and drawn else "info",
            location=line or evidence.locate(found[0]),
        )


def _is_draw(builds: Builds, path: str) -> bool:
    """Whether what a tensor holds was drawn: its last replacing write is a draw, and nothing was put in afterwards."""
    writes = [write for write in builds.writes if path in write.tensors]
    last = next(
        (number for number in reversed(range(len(writes))) if writes[number].whole and replaces_values(writes[number])),
        0,
    )
    since = [write for write in writes[last:] if replaces_values(write)]
    return bool(since) and all(write.random and write.op not in ("eye_", "dirac_") for write in since)


def _in_constructors(model: nn.Module, calls: tuple[Location, ...]) -> list[Location]:
    """The calls that stand in the source of one of the model's own classes."""
    found = []
    for kind in {type(module) for module in model.modules()}:
        try:
            file = inspect.getsourcefile(kind)
            lines, first = inspect.getsourcelines(kind)
        except (OSError, TypeError):
            continue
        found += [call for call in calls if call.file == file and first <= call.line < first + len(lines)]
    return found


def _looks_drawn(tensor: Tensor) -> bool:
    """Whether values have no repetitions and no correlation between neighbours, to four standard errors."""
    flat = tensor.detach().double().reshape(-1)[:100_000]
    n = len(flat)
    if n < ENTRIES or not tensor.is_floating_point() or int((flat.sort().values.diff() != 0).sum()) + 1 < 0.9 * n:
        return False
    centred = flat - flat.mean()
    square = float((centred * centred).mean())
    lags = {1, int(tensor.shape[-1]), 2} & set(range(1, n // 2))
    return square > 0 and all(
        abs(float((centred[lag:] * centred[:-lag]).mean())) / square < 4 / (n - lag) ** 0.5 for lag in lags
    )
