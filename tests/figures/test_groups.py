"""Which runs share a mean."""

from __future__ import annotations

from dataclasses import replace

from initscope.figures.groups import groups_of
from initscope.records.results import Results
from tests.support.synthetic import make_results, make_run


def results_ending_at(*ends: float) -> Results:
    """Baseline runs at 95 % and runs of all-one with these final accuracies."""
    baseline = [make_run("default", seed, end=95.0) for seed in range(3)]
    runs = [make_run("all-one", seed, end=end) for seed, end in enumerate(ends)]
    return replace(make_results(seeds=1), runs=(*baseline, *runs))


def found(*ends: float) -> list[tuple[str, int]]:
    return [(group.title, group.n) for group in groups_of(results_ending_at(*ends), "all-one")]


def test_runs_that_all_learned_or_all_did_not_share_one_mean() -> None:
    assert found(90.0, 91.0) == [("all", 2)]
    assert found(11.7, 11.7) == [("all", 2)]
    assert found(30.0, 11.7) == [("all", 2)]


def test_learners_and_runs_at_chance_are_apart() -> None:
    assert found(11.7, 90.0, 91.0) == [("learned", 2), ("at chance", 1)]


def test_partly_runs_close_to_the_learners_go_with_them_and_far_ones_stand_alone() -> None:
    assert found(11.7, 56.0, 50.0) == [("left chance", 2), ("at chance", 1)]
    assert found(11.7, 90.0, 30.0) == [("learned", 1), ("partly", 1), ("at chance", 1)]


def test_no_run_is_in_two_groups_or_in_none() -> None:
    groups = groups_of(results_ending_at(11.7, 90.0, 30.0, 56.0, 12.0), "all-one")
    assert sorted(run.seed for group in groups for run in group.runs) == [0, 1, 2, 3, 4]


def test_the_label_counts_the_conditions_runs() -> None:
    first, _ = groups_of(results_ending_at(11.7, 90.0, 91.0), "all-one")
    assert first.count == "2 of 3 learned"
