"""Why a condition ended as it did, assembled from what was measured in its own runs.

Every sentence carries a number of these runs and is absent where the measurement says otherwise. Each fact weighs how
far it decides the outcome; the weightiest are told first.
"""

from __future__ import annotations

from dataclasses import dataclass

from initscope.records.results import Results
from initscope.report.fact import TELLING, Fact, Finder
from initscope.report.facts_gradient import divergence, gradient_order, moved, rounding, training
from initscope.report.facts_units import dead_layers, equal_units, odd_signal, same_input, starved_units
from initscope.report.measured import Measured, measure

ANYWAY: tuple[Finder, ...] = (divergence, training)
"""Facts that need no probes."""
FROM_PROBES: tuple[Finder, ...] = (
    rounding, moved, dead_layers, gradient_order, equal_units, same_input, odd_signal, starved_units,
)  # fmt: skip
FEWEST, MOST = 2, 5


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The headline (one line, at most 90 characters) and two to five sentences, weightiest first."""

    headline: str
    sentences: tuple[str, ...]


def explain(results: Results, condition: str) -> Explanation:
    """Returns why the runs of `condition` ended as they did, from what was measured inside them.

    Where nothing was measured, the headline says so. Arguments: `condition` one of `results.conditions`.
    """
    facts = chosen_facts(measure(results, condition))
    if not facts:
        return Explanation(
            headline="not measured in these runs", sentences=("Nothing was measured inside these runs.",)
        )
    return Explanation(headline=_headline(facts), sentences=tuple(fact.sentence for fact in facts))


def kinds_of(results: Results, condition: str) -> frozenset[str]:
    """Returns the kinds of the facts that hold for `condition` ("rounding", "dead-layers", ...), told or not."""
    return frozenset(fact.kind for fact in all_facts(measure(results, condition)))


def all_facts(m: Measured) -> list[Fact]:
    """Returns every fact that holds, weightiest first."""
    finders = ANYWAY + (FROM_PROBES if m.n else ())
    found = [fact for finder in finders if (fact := finder(m)) is not None]
    return sorted(found, key=lambda fact: -fact.weight)


def chosen_facts(m: Measured) -> list[Fact]:
    """Returns the facts worth telling: the weighty ones, at most five; ordinary ones only to make up two."""
    facts = all_facts(m)
    telling = [fact for fact in facts if fact.weight >= TELLING][:MOST]
    return telling if len(telling) >= FEWEST else facts[:FEWEST]


def _headline(facts: list[Fact]) -> str:
    if [fact.kind for fact in facts[:2]] == ["all-gradients", "alive"]:
        return f"{facts[0].headline}; {facts[1].headline}"
    return facts[0].headline
