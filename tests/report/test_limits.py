"""The answer and the limits are computed from the results."""

from __future__ import annotations

from dataclasses import replace

from initscope.records.results import Results
from initscope.report.answer import answer, question
from initscope.report.limits import limits, mixed
from initscope.report.method import protocol, statistics
from initscope.stats.summary import summarise
from tests.support.synthetic import make_results, make_run


def told(results: Results) -> str:
    return "\n".join(limits(results, summarise(results)))


def test_the_answer_names_who_always_sometimes_and_never_learned_with_numbers() -> None:
    ends = {"default": (94.0, 95.0), "all-zero": (11.7, 11.7), "weights-zero-biases-default": (90.0, 11.7)}
    runs = tuple(make_run(key, seed, end=end) for key, pair in ends.items() for seed, end in enumerate(pair))
    results = replace(make_results(seeds=2), runs=runs)
    assert answer(results, summarise(results)) == (
        "After 10 epochs, default learned in all 2 seeds (median test accuracy 94.5 %); "
        "weights-zero-biases-default in 1 of 2 (from 11.7 % to 90.0 %); "
        "all-zero in none (11.7 %; the largest class alone gives 11.7 %)."
    )


def test_without_a_baseline_the_answer_does_not_claim_learning() -> None:
    results = make_results(seeds=2, conditions=("biases-zero",))
    assert answer(results, summarise(results)).startswith("Whether these runs learned is not known")
    assert "the baseline default was not run" in told(results)


def test_the_question_is_the_studys_own_or_made_from_what_was_run() -> None:
    assert question(make_results(seeds=1)).startswith("What does a 64-32-32 ReLU network learn")
    assert question(make_results(seeds=1, question="")) == "What does mlp learn from 8 starting points?"


def test_below_six_pairs_no_significance_is_claimed_and_the_smallest_p_is_said() -> None:
    assert (
        "Every comparison with the baseline rests on fewer than 6 pairs, so no significance is claimed. "
        "4 pairs can give no two-sided p value below 0.125." in told(make_results(seeds=4))
    )
    assert "significance" not in told(make_results(seeds=6))


def test_missing_and_failed_runs_are_counted() -> None:
    results = make_results(seeds=3)
    first, second, *rest = results.runs
    broken = replace(results, runs=(replace(first, status="failed", class_shares=()), *rest))
    assert "1 of 24 planned runs are missing and 1 run failed (default)" in told(broken)
    assert "planned" not in told(results) and second not in broken.runs


def test_a_mean_over_two_kinds_of_ending_is_called_out_only_where_there_are_two() -> None:
    results = make_results(seeds=10)
    assert "A mean hides two kinds of ending in weights-zero-biases-default" in told(results)
    assert "two kinds" not in told(make_results(seeds=10, conditions=("default", "all-zero")))


def test_a_small_test_set_is_said_with_its_standard_error() -> None:
    results = make_results(seeds=6)
    assert "The held-out set is small (180 samples): one sample is 0.56 points" in told(results)
    large = replace(results, runs=tuple(replace(run, n_test=2000) for run in results.runs))
    assert "held-out set is small" not in told(large)


def test_mixed_environments_are_named_and_equal_ones_are_not() -> None:
    results = make_results(seeds=6)
    one = results.environments[0]
    two = replace(results, environments=(one, replace(one, torch="2.12.0", started="later")))
    assert mixed(two) == ("torch (2.12.0, 2.13.0+cpu)",)
    assert mixed(results) == () and mixed(replace(results, environments=(one, replace(one, workers=1)))) == ()


def test_the_protocol_is_the_studys_and_the_statistics_are_stated() -> None:
    results = make_results(seeds=6)
    said = dict(protocol(results)) | dict(statistics(summarise(results)))
    assert said["network"] == "mlp: 64 → 64 → 32 → 32 → 10, relu between"
    assert said["length"] == "10 epochs, 500 updates, float32"
    assert said["shares"] == "Wilson interval, 95 %" and "Holm for 7 comparisons" in said["significance"]
