"""Explanations say what was measured in these runs, and the opposite where the opposite was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from initscope.records.results import Results
from initscope.records.run import Probes, RunRecord
from initscope.report.measured import measure
from initscope.report.why import all_facts, explain, kinds_of
from tests.support.synthetic import LAYERS, PARAMETERS, make_results, make_run

OTHER = "hidden1-weight-zero"


def results_with(change: Callable[[RunRecord], RunRecord], *, condition: str = OTHER, seeds: int = 10) -> Results:
    """Results of the baseline and one condition, whose runs are changed."""
    results = make_results(seeds=seeds, conditions=("default", condition))
    runs = tuple(change(run) if run.condition == condition else run for run in results.runs)
    return replace(results, runs=runs)


def probed(run: RunRecord, **changes: Any) -> RunRecord:
    """The run with fields of its probes changed."""
    assert run.probes is not None
    return replace(run, probes=replace(run.probes, **changes))


def sentences(results: Results, kind: str, *, condition: str = OTHER) -> list[str]:
    """The sentences of one kind of fact, told or not."""
    return [fact.sentence for fact in all_facts(measure(results, condition)) if fact.kind == kind]


def without_gradient(run: RunRecord, first: dict[str, float]) -> RunRecord:
    """The run with no gradient for some parameters before the step given (inf: never)."""
    assert run.probes is not None
    zero = np.array([[float(step < first.get(path, 0)) for path in PARAMETERS] for step in run.probes.steps])
    return probed(run, gradient_zero=zero, gradient_norm=np.where(zero == 1, 0.0, 0.1))


def test_gradients_that_are_there_from_the_start_are_told_as_such() -> None:
    found = sentences(results_with(lambda run: run), "all-gradients")
    assert found == ["At step 0 every one of the 8 parameters gets a gradient that is not zero, in all 10 seeds."]


def test_gradients_that_come_late_are_told_with_their_steps() -> None:
    first = {"hidden2.weight": 1, "hidden2.bias": 1, "hidden1.weight": 3, "hidden1.bias": 3, "input.weight": 16}
    results = results_with(lambda run: without_gradient(run, first))
    assert sentences(results, "late-gradient") == [
        "Gradients other than zero first arrive in input.bias and output.* at step 0; in hidden2.* at step 1; in "
        "hidden1.* at step 3; in input.weight by step 16, in all 10 seeds."
    ]
    assert not sentences(results, "all-gradients")


def test_gradients_that_never_come_are_told_with_the_number_of_measured_steps() -> None:
    results = results_with(lambda run: without_gradient(run, {"input.weight": np.inf, "input.bias": np.inf}))
    assert sentences(results, "never-gradient") == [
        "The gradient of input.* is exactly zero at step 0 and at every one of the 18 measured steps, in all 10 seeds."
    ]


def test_a_gradient_pattern_that_only_some_seeds_share_says_how_many() -> None:
    results = results_with(lambda run: without_gradient(run, {"input.bias": 1}) if run.seed < 7 else run)
    assert sentences(results, "late-gradient") == [
        "Gradients other than zero first arrive in input.weight, hidden1.*, hidden2.* and output.* at step 0; in "
        "input.bias at step 1, in 7 of 10 seeds."
    ]


@pytest.mark.parametrize(
    ("still", "expected"),
    [
        (
            PARAMETERS[:-1],
            "Only output.bias ever moved: the other 7 parameters equal their starting values to the bit after",
        ),
        (("input.weight",), "input.weight never moved: equal to the bit before and after training, in all 10 seeds."),
        ((), None),
    ],
)
def test_what_never_moved_is_named_and_nothing_is_said_where_all_moved(
    still: tuple[str, ...], expected: str | None
) -> None:
    def change(run: RunRecord) -> RunRecord:
        assert run.probes is not None
        shares = np.array([1.0 if path in still else 0.0 for path in PARAMETERS])
        return probed(run, unmoved_share=np.tile(shares, (len(run.probes.steps), 1)))

    found = sentences(results_with(change), "never-moved")
    assert [text.startswith(expected or "") for text in found] == ([True] if expected else [])


def dying(run: RunRecord, *, layer: int | None, step: int = 16, end: float = 11.7) -> RunRecord:
    """A run that ends at `end` and whose layer is dead from `step` on."""
    base = make_run(run.condition, run.seed, end=end)
    assert base.probes is not None
    dead = np.zeros_like(base.probes.dead_units)
    if layer is not None:
        dead[base.probes.steps >= step, layer] = base.probes.units[layer]
    return probed(base, dead_units=dead)


def test_dead_layers_that_separate_learners_from_the_rest_come_first_with_both_counts() -> None:
    results = results_with(
        lambda run: dying(run, layer=1 if run.seed < 6 else None, end=11.7 if run.seed < 6 else 92.0)
    )
    found = explain(results, OTHER)
    assert found.headline == "a whole layer is dead in 6 of 6 seeds that stayed at chance, in 0 of 4 that learned"
    assert found.sentences[0] == (
        "A whole hidden layer is dead at the end in 6 of the 6 seeds that stayed at chance and in none of the 4 that "
        "learned (hidden1 in 6; by step 16 at the latest)."
    )


def test_dead_layers_that_do_not_separate_are_told_with_the_counts_that_say_so() -> None:
    results = results_with(
        lambda run: dying(run, layer=1 if run.seed % 2 else None, end=11.7 if run.seed < 6 else 92.0)
    )
    assert sentences(results, "dead-layers") == [
        "A whole hidden layer is dead at the end in 3 of the 6 seeds that did not learn and in 2 of the 4 that learned "
        "(hidden1 in 5; by step 16 at the latest)."
    ]


def test_layers_that_live_are_told_as_such() -> None:
    results = results_with(lambda run: dying(run, layer=None, end=92.0))
    assert sentences(results, "alive") == ["No hidden layer is dead at the end in any of 10 seeds."]
    assert "dead-layers" not in kinds_of(results, OTHER)


def widths(run: RunRecord, start: tuple[int, ...], end: tuple[int, ...]) -> RunRecord:
    """The run with these numbers of distinct units."""
    assert run.probes is not None
    rows = np.tile(np.array(end, float), (len(run.probes.steps), 1))
    rows[0] = start
    return probed(run, distinct_units=rows, similar_groups=rows)


def test_equal_units_are_told_as_staying_equal_or_as_parting() -> None:
    stay = results_with(lambda run: widths(run, (1, 1, 1), (1, 1, 1)))
    assert sentences(stay, "equal-units") == [
        "Distinct units, to the bit, at the start and still at the end: input 1 of 64, hidden1 1 of 32 and hidden2 1 "
        "of 32 (in all 10 seeds)."
    ]
    part = results_with(lambda run: widths(run, (1, 1, 1), (64, 32, 32)))
    assert sentences(part, "equal-units") == [
        "Distinct units, to the bit, at the start: input 1 of 64, hidden1 1 of 32 and hidden2 1 of 32; at the end: "
        "input 64, hidden1 32 and hidden2 32 (median and range of 10 seeds)."
    ]
    assert "equal-units" not in kinds_of(results_with(lambda run: run), OTHER)


def rounded(run: RunRecord, ratio: float, *, signal: float = 2e5) -> RunRecord:
    """The run with hidden gradients `ratio` times the largest at step 0, and this signal."""
    assert run.probes is not None
    norms = run.probes.gradient_norm.copy()
    norms[0] = [1e5 if path.startswith("output") else 1e5 * ratio for path in PARAMETERS]
    return probed(run, gradient_norm=norms, signal_rms=np.full_like(run.probes.signal_rms, signal))


def test_residues_below_the_rounding_unit_under_huge_signals_are_called_rounding_with_the_number_format() -> None:
    found = sentences(results_with(lambda run: rounded(run, 3e-8)), "rounding")
    assert found == [
        "These runs are decided by rounding (float32): at step 0 the gradients of the hidden layers are at most 3e-08 "
        "times the largest gradient, and float32 itself rounds at 1.2e-07, in all 10 seeds; adam divides each by its "
        "own size and so turns it into a full step of 0.01."
    ]


@pytest.mark.parametrize(("ratio", "signal"), [(1e-3, 2e5), (3e-8, 0.6), (0.0, 2e5)])
def test_real_gradients_small_signals_and_exact_zeros_are_not_called_rounding(ratio: float, signal: float) -> None:
    assert "rounding" not in kinds_of(results_with(lambda run: rounded(run, ratio, signal=signal)), OTHER)


def test_in_float64_the_same_residue_is_a_gradient() -> None:
    results = results_with(lambda run: rounded(run, 3e-8))
    study = results.study.model_copy(update={"train": results.study.train.model_copy(update={"dtype": "float64"})})
    assert "rounding" not in kinds_of(replace(results, study=study), OTHER)


def test_starved_units_are_counted_against_the_baseline() -> None:
    def change(run: RunRecord) -> RunRecord:
        assert run.probes is not None
        shares = run.probes.unmoved_share.copy()
        shares[:, PARAMETERS.index("hidden1.bias")] = 0.5
        return probed(run, unmoved_share=shares)

    assert sentences(results_with(change), "starved-units") == [
        "Units whose bias never moved, median over seeds: 16 of 32 in hidden1; in the baseline hardly any, yet 10 of "
        "10 seeds learned with the others."
    ]
    assert not sentences(results_with(lambda run: run), "starved-units")


def test_inputs_that_look_the_same_at_the_start_are_told_with_what_became_of_it() -> None:
    def change(run: RunRecord) -> RunRecord:
        assert run.probes is not None
        share = run.probes.input_share.copy()
        share[0, 1:] = 0.0
        return probed(run, input_share=share)

    assert sentences(results_with(change), "same-input") == [
        "At the start every input looks the same in hidden1 and hidden2: none of the signal depends on it, in all 10 "
        "seeds; at the end hidden2 tells inputs apart in all 10 seeds."
    ]
    assert not sentences(results_with(lambda run: run), "same-input")


@pytest.mark.parametrize(("factor", "ratio"), [(1000.0, "1e+03"), (0.01, "0.01"), (2.0, None)])
def test_a_starting_signal_far_from_the_baselines_is_told_as_a_ratio(factor: float, ratio: str | None) -> None:
    def change(run: RunRecord) -> RunRecord:
        assert run.probes is not None
        return probed(run, signal_rms=run.probes.signal_rms * factor)

    found = sentences(results_with(change), "odd-signal")
    assert [f"starts at {ratio} times the baseline's" in text for text in found] == ([True] if ratio else [])


def test_diverged_runs_come_first_with_their_steps() -> None:
    results = results_with(
        lambda run: replace(run, status="diverged", diverged_step=12 + run.seed, probes=None) if run.seed < 3 else run
    )
    assert explain(results, OTHER).sentences[0] == (
        "The loss left the finite numbers in 3 of 10 seeds, at step 13 (12 to 14); it began at 2.31."
    )


def test_runs_without_probes_are_explained_by_what_is_left_and_never_by_invention() -> None:
    results = results_with(lambda run: replace(run, probes=None))
    assert [text.startswith("On the training data") for text in explain(results, OTHER).sentences] == [True]
    empty = results_with(lambda run: replace(failed(run), error="RuntimeError: out of luck\nmore"))
    assert explain(empty, OTHER).sentences == ("The engine failed in all 10 seeds: RuntimeError: out of luck.",)


def failed(run: RunRecord) -> RunRecord:
    """The run as the engine leaves it when it raises."""
    nothing = np.array([], dtype=np.float64)
    history = replace(run.history, train_loss=nothing, train_accuracy_percent=nothing, test_accuracy_percent=nothing)
    return replace(run, status="failed", probes=None, history=history, class_shares=())


def unmeasured(probes: Probes) -> Probes:
    """The probes with a NaN everywhere."""
    floats = [name for name, value in vars(probes).items() if isinstance(value, np.ndarray) and name != "steps"]
    return replace(probes, **{name: np.full_like(getattr(probes, name), np.nan) for name in floats})


@pytest.mark.filterwarnings("error")
def test_what_was_not_measured_is_not_told() -> None:
    def change(run: RunRecord) -> RunRecord:
        assert run.probes is not None
        return replace(run, probes=unmeasured(run.probes))

    assert kinds_of(results_with(change), OTHER) <= {"training"}


@pytest.mark.parametrize("seeds", [1, 10, 64])
def test_every_condition_has_a_headline_that_fits_and_at_most_five_sentences(seeds: int) -> None:
    results = make_results(seeds=seeds)
    for condition in results.conditions:
        found = explain(results, condition)
        assert len(found.headline) <= 90 and "\n" not in found.headline
        assert 1 <= len(found.sentences) <= 5
        assert all(any(sign.isdigit() for sign in text) or seeds == 1 for text in found.sentences), found.sentences


def test_the_axes_of_the_made_up_probes_are_those_the_tests_rely_on() -> None:
    assert LAYERS == ("input", "hidden1", "hidden2") and PARAMETERS[-1] == "output.bias"
