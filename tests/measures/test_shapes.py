"""The shapes that measures annotate are true: checked by jaxtyping and beartype in a fresh interpreter.

In the program the names are imported for type checkers only; here `typing.TYPE_CHECKING` is set before the import.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

PREPARE = """
import sys, typing
import beartype, initscope, torch
from jaxtyping import TypeCheckError, install_import_hook
assert not [name for name in sys.modules if name.startswith("initscope.measures.")]
typing.TYPE_CHECKING = True
with install_import_hook("initscope.measures", "beartype.beartype"):
    from initscope.measures.gradients import exactly_zero, gradient_norms, unmoved_share
    from initscope.measures.signal import alive_units, units_last
    from initscope.measures.width import distinct_units, similar_groups
typing.TYPE_CHECKING = False

def refused(call):
    try:
        call()
    except TypeCheckError:
        return True
    return False
"""
RIGHT = """
for shape in [(3, 4), (3, 4, 5), (3, 2, 2, 2)]:
    gradient_norms(torch.randn(shape)); exactly_zero(torch.randn(shape))
    unmoved_share(torch.randn(shape), torch.randn(shape))
distinct_units(torch.randn(2, 5, 3))
similar_groups(torch.randn(2, 5, 3), tolerance=0.1)
alive_units(torch.randn(2, 9, 4))
units_last(torch.randn(2, 9, 4, 3, 3), 1); units_last(torch.randn(2, 9, 4), -1)
"""
WRONG = """
assert refused(lambda: gradient_norms(torch.zeros(3, 4, dtype=torch.int64)))
assert refused(lambda: unmoved_share(torch.randn(3, 4), torch.randn(3, 5)))
assert refused(lambda: distinct_units(torch.randn(5, 3)))
assert refused(lambda: similar_groups(torch.randn(1, 2, 5, 3), tolerance=0.1))
assert refused(lambda: alive_units(torch.randn(9, 4)))
"""


def in_fresh_interpreter(code: str) -> None:
    """Runs the checked measures on `code` and fails where it does."""
    done = subprocess.run([sys.executable, "-c", PREPARE + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_measures_take_and_return_the_shapes_they_say_and_refuse_others() -> None:
    in_fresh_interpreter(RIGHT + WRONG)


@pytest.mark.slow
def test_the_check_fails_where_a_shape_is_wrong() -> None:
    with pytest.raises(AssertionError, match="TypeCheckError"):
        in_fresh_interpreter("distinct_units(torch.randn(5, 3))")
