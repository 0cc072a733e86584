"""The watch of writes leaves nothing behind, and names who seeds a global generator."""

from __future__ import annotations

import random
import subprocess
import sys
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from initscope.checker.instruments.writes import watch_writes
from initscope.modules.generators import seeded_generators
from initscope.records.finding import Location


def test_nothing_is_drawn_or_changed_by_the_watch() -> None:
    with seeded_generators(3):
        plain = nn.Linear(200, 300)
        after = torch.rand(1)
    with seeded_generators(3):
        with watch_writes():
            watched = nn.Linear(200, 300)
        assert torch.equal(torch.rand(1), after)
    assert torch.equal(plain.weight, watched.weight)
    assert watched.weight.is_leaf and watched.weight._version == plain.weight._version


def test_no_tensor_lives_longer_for_being_watched() -> None:
    with watch_writes():
        held = torch.ones(3)
        storage = weakref.ref(held)
        del held
        assert storage() is None


@pytest.mark.parametrize(
    "seeding",
    [
        lambda: torch.manual_seed(1),
        lambda: torch.random.manual_seed(1),
        lambda: random.seed(1),
        lambda: np.random.seed(1),  # noqa: NPY002  # the very thing that is looked for
    ],
    ids=["torch", "torch.random", "random", "numpy"],
)
def test_a_line_that_seeds_a_global_generator_is_named(seeding: Callable[[], object]) -> None:
    with seeded_generators(0), watch_writes() as log:
        seeding()
        seeding()
    assert log.seed_calls == (Location(file=__file__, line=seeding.__code__.co_firstlineno),)


def test_a_seeding_function_imported_by_name_is_seen_through_what_it_calls() -> None:
    from torch import manual_seed

    with seeded_generators(0), watch_writes() as log:
        manual_seed(1)
    assert [place.file for place in log.seed_calls] == [__file__]


def test_a_generator_of_ones_own_and_our_own_guard_are_no_seeding() -> None:
    with seeded_generators(0), watch_writes() as log:
        torch.Generator().manual_seed(1)
        with seeded_generators(5):
            torch.rand(1)
    assert log.seed_calls == ()


def test_no_patch_is_left_behind_even_when_the_users_code_raises() -> None:
    before = (torch.manual_seed, torch.random.manual_seed, torch.cuda.manual_seed_all, random.seed, np.random.seed)
    with pytest.raises(ZeroDivisionError), watch_writes():
        raise ZeroDivisionError
    after = (torch.manual_seed, torch.random.manual_seed, torch.cuda.manual_seed_all, random.seed, np.random.seed)
    assert all(one is other for one, other in zip(before[:3], after[:3], strict=True))
    assert before[3:] == after[3:]
    assert torch._C._len_torch_dispatch_stack() == 0


@pytest.mark.slow
def test_a_compiled_function_may_be_called_in_a_factory() -> None:
    def double(values: Tensor) -> Tensor:
        return values * 2

    compiled = torch.compile(double, backend="eager")
    layer = nn.Linear(3, 1, bias=False)
    with watch_writes() as log:
        layer.weight = nn.Parameter(compiled(torch.ones(1, 3)).detach())
    log.settle(layer)
    (write,) = log.writes
    assert (write.op, write.mean) == ("mul", 2.0)


@pytest.mark.slow
def test_torchs_compiler_is_not_imported_for_the_watch() -> None:
    program = (
        "import sys, torch\n"
        "from initscope.checker.instruments.writes import watch_writes\n"
        "with watch_writes():\n"
        "    torch.nn.Linear(2, 2)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_users_error_shows_none_of_our_frames_inside_it() -> None:
    with pytest.raises(RuntimeError) as raised, watch_writes():
        torch.ones(2) + torch.ones(3)
    frames = [entry.path for entry in raised.traceback]
    assert [str(path) for path in frames] == [__file__]
