"""What was observed of one case: what the checker said of it, and what training made of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from calibration.case import CaseKind


@dataclass(frozen=True, kw_only=True)
class Said:
    """One finding: its rule, severity, first place, sentence, and log10 distance to the threshold where it has one."""

    rule: str
    severity: str
    where: str
    message: str
    margin_log10: float | None = None


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the checker said of a case. `trouble` is why it said nothing: a crash, or a time limit; else empty.

    skipped, failed   rule -> reason, rule -> error
    """

    said: tuple[Said, ...] = ()
    skipped: dict[str, str]
    failed: dict[str, str]
    seconds: float = float("nan")
    trouble: str = ""

    def rules(self, *severities: str) -> frozenset[str]:
        """Returns the rules that said something of these severities (of any, without one)."""
        return frozenset(one.rule for one in self.said if not severities or one.severity in severities)

    def joined(self, other: Checked) -> Checked:
        """Returns what was said here or there (under several seeds), each sentence once."""
        return Checked(
            said=tuple(dict.fromkeys((*self.said, *other.said))),
            skipped={**self.skipped, **other.skipped},
            failed={**self.failed, **other.failed},
            seconds=max(self.seconds, other.seconds),
            trouble=self.trouble or other.trouble,
        )

    @classmethod
    def without(cls, trouble: str) -> Checked:
        """Returns the record of a check that did not end."""
        return cls(skipped={}, failed={}, trouble=trouble)

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Checked:
        """Returns what `asdict` of a record gave."""
        return cls(**{**stored, "said": tuple(Said(**one) for one in stored["said"])})


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What training says of a label.

    proven   the label holds: a broken network did clearly worse than its twin, a sound one learnt
    learns   whether the network itself got clearly below chance; None where it was not trained
    first, chance, final   losses, medians over seeds
    text     one sentence with the numbers, or why there is no training
    """

    proven: bool | None
    learns: bool | None
    first: float | None = None
    chance: float | None = None
    final: float | None = None
    text: str = ""

    def stored(self) -> dict[str, Any]:
        """Returns it as plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A case and what was observed of it; `checked` and `proof` are None where that was not asked for."""

    name: str
    kind: CaseKind
    family: str
    rules: tuple[str, ...]
    why: str
    checked: Checked | None = None
    proof: Proof | None = None
