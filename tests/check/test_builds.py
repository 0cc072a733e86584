"""Several builds of a network: equal under two seeds, never written, read although never written."""

from __future__ import annotations

import random
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from initscope.checker.evidence import Absent, Builds
from initscope.checker.instruments.builds import examine_builds, first_build
from initscope.checker.instruments.writes import watch_writes
from initscope.modules.generators import seeded_generators
from initscope.records.finding import Location

NAN = float("nan")


class Net(nn.Module):
    """A layer of width 3 beside the parameters and buffers that functions make."""

    def __init__(self, *, buffers: dict[str, Callable[[], Tensor]] | None = None, **made: Callable[[], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        for name, make in made.items():
            self.register_parameter(name, nn.Parameter(make(), requires_grad=make().is_floating_point()))
        for name, make in (buffers or {}).items():
            self.register_buffer(name, make())


def examined(factory: Callable[[], Any], *, seed: int = 0, forward: Callable[[nn.Module], Any] | None = None) -> Builds:
    returned, log = first_build(factory, seed=seed)
    model = returned[0] if isinstance(returned, tuple) else returned
    return examine_builds(factory, model, log, seed=seed, forward=forward)


def global_state() -> tuple[Any, ...]:
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # type: ignore[index]  # noqa: NPY002  # the state is what is compared
        torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch._C._len_torch_dispatch_stack(),
        torch.manual_seed,
    )


def test_what_is_drawn_differs_between_seeds_and_what_is_set_does_not() -> None:
    builds = examined(lambda: Net(gain=lambda: torch.ones(3), noise=lambda: torch.randn(3)))
    assert builds.equal_in_seeds == {"gain"}
    assert builds.second_seed is True
    assert builds.poisoned is True
    assert builds.unwritten == {}


def test_a_seed_inside_the_factory_makes_both_builds_equal_and_is_named() -> None:
    def factory() -> nn.Module:
        torch.manual_seed(1)
        return nn.Linear(3, 2)

    builds = examined(factory)
    line = factory.__code__.co_firstlineno + 1
    assert builds.equal_in_seeds == {"weight", "bias"}
    assert builds.seed_calls == (Location(file=__file__, line=line),)


def test_the_first_build_is_the_one_that_the_seed_gives() -> None:
    first, _ = first_build(lambda: nn.Linear(3, 2), seed=5)
    again, _ = first_build(lambda: nn.Linear(3, 2), seed=5)
    other, _ = first_build(lambda: nn.Linear(3, 2), seed=6)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


def test_a_tuple_is_returned_whole_and_its_first_member_is_the_model() -> None:
    inputs = torch.ones(1, 3)
    returned, log = first_build(lambda: (nn.Linear(3, 2), inputs), seed=0)
    assert returned[1] is inputs
    assert {path for write in log.writes for path in write.tensors} == {"weight", "bias"}
    assert examined(lambda: (Net(gain=lambda: torch.ones(2)), inputs)).equal_in_seeds == {"gain"}


def test_a_parameter_that_nothing_was_written_into_is_named_with_its_share() -> None:
    def half() -> Tensor:
        made = torch.empty(4, 4)
        made[:2] = 1.0
        return made

    builds = examined(lambda: Net(whole=lambda: torch.empty(5), partly=half, legacy=lambda: torch.FloatTensor(7)))
    assert builds.unwritten == {"whole": 1.0, "partly": 0.5, "legacy": 1.0}
    assert set(builds.born) >= {"whole", "partly", "legacy"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.int32])
def test_memory_of_every_dtype_that_can_be_told_is_told(dtype: torch.dtype) -> None:
    assert examined(lambda: Net(memory=lambda: torch.empty(5, dtype=dtype))).unwritten == {"memory": 1.0}


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_dtypes_whose_fill_says_nothing_are_passed_over(dtype: torch.dtype) -> None:
    assert examined(lambda: Net(buffers={"memory": lambda: torch.full((5,), 1, dtype=dtype)})).unwritten == {}
    assert examined(lambda: Net(buffers={"memory": lambda: torch.empty(5, dtype=dtype)})).unwritten == {}


def test_nan_and_the_largest_integer_written_on_purpose_are_written() -> None:
    builds = examined(
        lambda: Net(
            hole=lambda: torch.full((3,), NAN),
            part=lambda: torch.tensor([1.0, NAN]),
            buffers={"top": lambda: torch.full((3,), torch.iinfo(torch.int64).max)},
        )
    )
    assert builds.unwritten == {}


def test_unwritten_memory_that_happens_to_hold_nan_in_the_first_build_is_found_all_the_same() -> None:
    shared = torch.full((5,), NAN)  # stands for memory given back by a poisoned model

    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.Parameter(torch.empty(5))

    model, log = first_build(Reused, seed=0)
    with torch.no_grad():
        model.memory.copy_(shared)
    assert examine_builds(Reused, model, log, seed=0).unwritten == {"memory": 1.0}


def test_one_check_after_another_finds_the_same() -> None:
    found = [examined(lambda: Net(memory=lambda: torch.empty(64, 64))).unwritten for _ in range(4)]
    assert found == [{"memory": 1.0}] * 4


def test_memory_lost_on_the_meta_device_is_unwritten() -> None:
    def factory() -> nn.Module:
        with torch.device("meta"):
            layer = nn.Linear(3, 2)
        layer = layer.to_empty(device="cpu")
        nn.init.zeros_(layer.bias)
        return layer

    builds = examined(factory)
    assert builds.unwritten == {"weight": 1.0}
    assert builds.born["weight"].line == factory.__code__.co_firstlineno + 2


class WithBuffers(nn.Module):
    """Multiplies by one buffer and never reads the other, or fills it first."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3))
        self.register_buffer("read", torch.empty(3))
        self.register_buffer("idle", torch.empty(3))
        self.register_buffer("filled", torch.empty(3))
        self.register_buffer("places", torch.empty(3, dtype=torch.int64))

    def forward(self, data: Tensor) -> dict[str, Any]:
        self.filled.copy_(torch.ones(3))
        return {"outputs": (data * self.weight * self.read * self.filled, data)}


def test_an_unwritten_buffer_counts_as_read_only_where_it_reaches_the_outputs() -> None:
    builds = examined(WithBuffers, forward=lambda model: model(torch.ones(2, 3)))
    assert set(builds.unwritten) == {"weight", "read", "idle", "filled", "places"}
    assert builds.unwritten_read == {"read"}


def test_an_index_buffer_whose_memory_makes_the_forward_pass_fail_is_read() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(4, 3)
            self.register_buffer("places", torch.empty(2, dtype=torch.int64))

        def forward(self) -> Tensor:
            found: Tensor = self.table(self.places)
            return found

    assert examined(Table, forward=lambda model: model()).unwritten_read == {"places"}


def test_without_a_forward_pass_that_runs_no_buffer_is_named() -> None:
    def broken(model: nn.Module) -> Any:
        raise ValueError("no inputs")

    assert examined(WithBuffers).unwritten_read == frozenset()
    assert examined(WithBuffers, forward=broken).unwritten_read == frozenset()


def test_a_factory_that_returns_the_same_model_twice_leaves_both_builds_absent() -> None:
    model = nn.Linear(3, 2)
    assert_absent(examined(lambda: model), "the factory returns the same model every time")


def test_a_factory_that_raises_on_its_second_call_leaves_both_builds_absent() -> None:
    calls = []

    def factory() -> nn.Module:
        calls.append(1)
        if len(calls) > 1:
            raise KeyError("gone")
        return nn.Linear(3, 2)

    assert_absent(examined(factory), "the factory raised when it was called again: KeyError: 'gone'")


def test_a_factory_of_changing_architecture_leaves_both_builds_absent() -> None:
    widths = iter(range(2, 9))
    reason = "the factory builds another architecture every time: weight is [2, 3] float32, then [3, 3] float32"
    assert_absent(examined(lambda: nn.Linear(3, next(widths))), reason)
    depths = iter(range(1, 9))
    builds = examined(lambda: nn.Sequential(*(nn.ReLU() if step else nn.Linear(1, 1) for step in range(next(depths)))))
    assert builds.second_seed is True
    layers = iter(range(1, 9))
    reason = "the factory builds another architecture every time: 1.weight is absent, then [1, 1] float32"
    assert_absent(examined(lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(next(layers))))), reason)


def test_a_factory_that_fails_only_in_the_third_build_keeps_what_the_second_showed() -> None:
    calls = []

    def factory() -> nn.Module | None:
        calls.append(1)
        return Net(gain=lambda: torch.ones(3)) if len(calls) < 3 else None

    builds = examined(factory)
    assert builds.second_seed is True
    assert builds.equal_in_seeds == {"gain"}
    assert isinstance(builds.poisoned, Absent)
    assert builds.poisoned.reason == "the factory returned no model when it was called again"


def assert_absent(builds: Builds, reason: str) -> None:
    for outcome in (builds.second_seed, builds.poisoned):
        assert isinstance(outcome, Absent)
        assert outcome.reason == reason
    assert (builds.equal_in_seeds, builds.unwritten, builds.unwritten_read) == (frozenset(), {}, frozenset())


def test_memory_shared_by_all_builds_proves_nothing() -> None:
    backbone = nn.Linear(3, 3)
    builds = examined(lambda: nn.Sequential(backbone, nn.Linear(3, 3)))
    assert builds.equal_in_seeds == frozenset()
    assert builds.unwritten == {}


def test_odd_tensors_are_passed_over() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lazy = nn.LazyLinear(3)
            self.meta = nn.Linear(3, 2, device="meta")
            self.register_buffer("sparse", torch.eye(3).to_sparse())
            self.none = nn.Parameter(torch.empty(0))
            self.plain = nn.Parameter(torch.ones(3))

    builds = examined(Odd)
    assert builds.equal_in_seeds == {"plain"}
    assert builds.unwritten == {}


def test_expanded_memory_and_models_built_in_inference_mode_are_examined() -> None:
    def factory() -> nn.Module:
        with torch.inference_mode():
            return Net(buffers={"wide": lambda: torch.empty(1).expand(3), "idle": lambda: torch.empty(3)})

    def forward(model: nn.Module) -> Any:
        return model.layer(model.wide)  # type: ignore[operator]  # Net's own names

    builds = examined(factory, forward=forward)
    assert builds.unwritten == {"wide": 1.0, "idle": 1.0}
    assert builds.unwritten_read == {"wide"}


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.bits8])
def test_small_dtypes_do_not_stop_the_examination(dtype: torch.dtype) -> None:
    builds = examined(lambda: Net(buffers={"memory": lambda: torch.empty(5, dtype=dtype)}, gain=lambda: torch.ones(3)))
    assert "gain" in builds.equal_in_seeds
    assert set(builds.unwritten) <= {"memory"}


def test_one_model_at_a_time_is_alive_beside_the_first() -> None:
    alive: list[weakref.ref[nn.Module]] = []

    def factory() -> nn.Module:
        assert sum(one() is not None for one in alive) <= 1
        model = nn.Linear(3, 2)
        alive.append(weakref.ref(model))
        return model

    builds = examined(factory)
    assert (builds.second_seed, builds.poisoned, len(alive)) == (True, True, 3)


def test_the_first_model_and_the_process_are_left_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    def factory() -> nn.Module:
        print("building")  # noqa: T201  # a factory that talks
        torch.manual_seed(7)
        random.seed(7)
        np.random.seed(7)  # noqa: NPY002  # a factory that moves the global generators
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(False)
        torch.set_grad_enabled(False)
        return WithBuffers()

    before = global_state()
    model, log = first_build(factory, seed=0)
    assert global_state() == before
    assert capsys.readouterr().out == "building\n"
    values = [tensor.clone() for tensor in model.state_dict().values()]
    examine_builds(factory, model, log, seed=0, forward=lambda one: one(torch.ones(2, 3, dtype=torch.float64)))
    assert global_state() == before
    assert capsys.readouterr().out == ""
    for tensor, value in zip(model.state_dict().values(), values, strict=True):
        assert torch.equal(tensor.view(torch.uint8), value.view(torch.uint8))


@pytest.mark.parametrize("mode", ["warn", "error"])
def test_deterministic_switches_that_were_on_stay_on(mode: str) -> None:
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.set_deterministic_debug_mode(mode)
    try:
        before = global_state()
        builds = examined(lambda: Net(memory=lambda: torch.empty(5)))
        assert global_state() == before
    finally:
        torch.set_deterministic_debug_mode("default")
    assert torch.utils.deterministic.fill_uninitialized_memory == filled
    assert builds.unwritten == {"memory": 1.0}


class OwnError(Exception):
    """An exception of the user's."""


def test_the_users_exception_passes_unchanged_and_the_process_is_as_before() -> None:
    error = OwnError("broken")

    def factory() -> nn.Module:
        nn.Linear(3, 2)
        torch.manual_seed(3)
        torch.use_deterministic_algorithms(True)
        raise error

    before = global_state()
    with pytest.raises(OwnError) as raised:
        first_build(factory, seed=0)
    assert raised.value is error
    assert global_state() == before


def test_an_operators_error_shows_the_users_line_last_but_for_torch() -> None:
    def factory() -> nn.Module:
        return Net(weight=lambda: torch.ones(2) + torch.ones(3))

    with pytest.raises(RuntimeError) as raised:
        first_build(factory, seed=0)
    assert str(raised.traceback[-1].path) == __file__


def test_the_switch_of_torchs_compiler_is_restored() -> None:
    import torch._inductor.config as config

    before = config.deterministic
    first_build(lambda: torch.use_deterministic_algorithms(True) or nn.Linear(3, 2), seed=0)  # type: ignore[func-returns-value]  # None
    assert config.deterministic == before
    assert "torch._inductor.config" in sys.modules


def test_writes_and_births_are_those_of_the_first_build() -> None:
    builds = examined(lambda: nn.Linear(3, 2))
    with seeded_generators(0), watch_writes() as log:
        model = nn.Linear(3, 2)
    log.settle(model)
    assert [(write.op, write.tensors, write.order) for write in builds.writes] == [
        (write.op, write.tensors, write.order) for write in log.writes
    ]
    last = builds.last_write("weight")
    assert last is not None and last.framework
    assert set(builds.born) == {"weight", "bias"}
