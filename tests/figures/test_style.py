"""Colours, ticks, wrapping and labels."""

from __future__ import annotations

from itertools import pairwise

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initscope.figures.curves import staggered
from initscope.figures.labels import spread
from initscope.figures.page import balanced, open_page, width_in, wrapped, wrapped_name
from initscope.figures.style import BASELINE, house, looks, readable_on, whole_ticks
from tests.support.synthetic import founding_study, make_results


def test_the_baseline_is_blue_and_every_condition_has_a_look_of_its_own() -> None:
    found = looks(founding_study())
    assert found["default"].colour == BASELINE == "#0072B2"
    assert len({look.colour for look in found.values()}) == len({look.marker for look in found.values()}) == 8


def test_a_condition_keeps_its_look_whatever_was_run() -> None:
    some = make_results(seeds=1, conditions=("biases-zero",)).study
    assert looks(some) == looks(make_results(seeds=1).study)


def test_a_study_of_thirty_conditions_gives_each_a_look() -> None:
    study = founding_study(conditions={"default": {}} | {f"c{i}": {} for i in range(29)}, figures={}, about={})
    found = looks(study)
    assert len({(look.colour, look.marker) for look in found.values()}) == 30


def test_settings_of_matplotlib_are_put_back() -> None:
    before = dict(matplotlib.rcParams)
    with house():
        assert matplotlib.rcParams["font.size"] >= 9
    assert dict(matplotlib.rcParams) == before


def test_text_on_a_colour_is_black_or_white_by_contrast() -> None:
    assert readable_on((1.0, 1.0, 0.8)) == "#000000"
    assert readable_on((0.0, 0.1, 0.3)) == "#ffffff"


@given(st.integers(0, 50), st.integers(0, 5000), st.integers(2, 12))
def test_ticks_are_whole_numbers_within_their_ends_and_few(low: int, more: int, most: int) -> None:
    ticks = whole_ticks(low, low + more, most)
    assert all(isinstance(tick, int) and low <= tick <= low + more for tick in ticks)
    assert len(ticks) <= most + 1
    assert ticks[0] == low


@given(st.lists(st.tuples(st.floats(-50, 150), st.floats(1, 12)), min_size=1, max_size=7))
def test_labels_never_overlap_and_stay_inside_where_there_is_room(boxes: list[tuple[float, float]]) -> None:
    wanted, heights = [place for place, _ in boxes], [height for _, height in boxes]
    centres = spread(wanted, heights, 0.0, 100.0)
    edges = sorted((centre - height / 2, centre + height / 2) for centre, height in zip(centres, heights, strict=True))
    assert all(below[1] <= above[0] + 1e-6 for below, above in pairwise(edges))
    assert edges[0][0] >= -1e-6 and edges[-1][1] <= 100 + 1e-6


def test_labels_that_do_not_collide_stay_where_they_belong() -> None:
    assert spread([90.0, 10.0, 50.0], [5.0, 5.0, 5.0], 0.0, 100.0) == [90.0, 10.0, 50.0]


def test_wrapped_lines_fit_keep_every_word_and_never_part_a_number_from_its_noun() -> None:
    text = "weights-zero-biases-default learned in 4 of 10 seeds and stayed at chance in 6; default reached 94.6 %"
    for wrap in (wrapped, balanced):
        lines = wrap(text, 4.0, 15.0, bold=True)
        assert " ".join(lines) == text
        assert all(width_in(line, 15.0, bold=True) <= 4.0 for line in lines)
        assert not any(line.endswith(("10", "94.6")) for line in lines)
    assert len(balanced(text, 4.0, 15.0)) == len(wrapped(text, 4.0, 15.0))


def test_a_name_is_broken_after_its_hyphens_and_keeps_every_letter() -> None:
    lines = wrapped_name("weights-zero-biases-default", 1.3, 10.5)
    assert len(lines) == 2
    assert "".join(lines) == "weights-zero-biases-default"


def test_markers_of_curves_that_lie_on_each_other_stand_at_different_points() -> None:
    places = [set(staggered(10, place, 4)) for place in range(4)]
    assert all(places)
    assert not any(one & other for i, one in enumerate(places) for other in places[:i])


def test_a_page_is_of_golden_ratio_six_inches_high_and_leaves_room_for_axes() -> None:
    page = open_page("word " * 60, "word " * 60)
    width, height = page.figure.get_size_inches()
    assert height == pytest.approx(6.0) and width / height == pytest.approx(1.618)
    assert page.top - page.bottom > 2.0
