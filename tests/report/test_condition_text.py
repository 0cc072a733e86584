"""A condition's table in words."""

from __future__ import annotations

import pytest

from initscope.report.condition_text import describe
from tests.support.synthetic import founding_study


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({}, "nothing is overwritten: every weight and bias keeps its random default"),
        ({"*": "zeros"}, "every weight and bias = 0"),
        ({"*.weight": "zeros"}, "every weight = 0; biases keep their random default"),
        ({"*.bias": "normal(std=0.01)"}, "every bias drawn from normal(std=0.01); weights keep their random default"),
        ({"*.weight": "ones", "*.bias": "zeros"}, "every weight = 1, every bias = 0"),
        ({"hidden1.weight": "zeros"}, '"hidden1.weight" = 0; the rest keeps its random default'),
        ({"hidden1.*": "constant(value=0.5)"}, 'every parameter of "hidden1" = 0.5; the rest keeps its random default'),
        ({"*": "zeros", "output.weight": "ones"}, 'every weight and bias = 0, then "output.weight" = 1'),
        ({"enc*.weight": "ones"}, 'every "enc*.weight" = 1; the rest keeps its random default'),
    ],
)
def test_a_table_reads_as_a_sentence(table: dict[str, str], text: str) -> None:
    assert describe(table) == text


def test_no_two_conditions_of_the_founding_study_read_alike() -> None:
    conditions = founding_study().conditions
    assert len({describe(table) for table in conditions.values()}) == len(conditions)
