"""Every write of values into a storage while a network is built: which operation, from which line, in which order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from initscope.checker.evidence import Write
from initscope.checker.instruments.write_book import WriteBook
from initscope.checker.instruments.write_frames import STEPWISE
from initscope.checker.instruments.write_seeds import watched_seeding
from initscope.checker.instruments.write_tensors import REPLACING, address, extent
from initscope.records.finding import Location


def watch_writes() -> Watch:
    """Returns a context manager that gives a `WriteLog` and records every write into a storage inside the block.

    Writes through `.data`, views, `torch.no_grad`, deep copies, `load_state_dict` and parametrisations are seen, those
    that numpy makes in a tensor's memory are not. The values, the generators and the operators' results stay as they
    would be without the watch; no tensor lives longer for it. Lines of code are looked for between the operator and the
    function that called `watch_writes`.
    """
    return Watch(sys._getframe(1))


def replaces_values(write: Write) -> bool:
    """Returns whether the values after a write owe nothing to those before it, where it wrote (`mul_` keeps them)."""
    return not write.op.endswith("_") or write.op in REPLACING or write.op in STEPWISE


class WriteLog:
    """What a watch recorded; `settle` it on the finished model to have it by the names of its tensors.

    Attributes:
        writes: every write into storages the model holds, in order; empty before `settle`.
        born: path -> the innermost line of the user's code that created the tensor's storage.
        made: paths of tensors whose storage was made inside the watch, by an operator.
    """

    def __init__(self, root: FrameType | None) -> None:
        self._book = WriteBook(root)
        self._watched: list[Location] = []
        self.writes: tuple[Write, ...] = ()
        self.born: Mapping[str, Location] = {}
        self.made: frozenset[str] = frozenset()

    @property
    def seed_calls(self) -> tuple[Location, ...]:
        """Lines of the user's code that seeded a global generator, each once, in order."""
        return tuple(self._watched)

    @property
    def missed(self) -> tuple[str, ...]:
        """Operators on tensors of a kind that could not be read, each with the reason; none for torch's own kinds."""
        return tuple(self._book.missed)

    def settle(self, model: nn.Module) -> None:
        """Finds the names of the storages in `model`, before it is moved or cast elsewhere."""
        owners = {name: type(module).__name__ for name, module in model.named_modules(remove_duplicate=False)}
        named = dict(held_tensors(model))
        self.writes = self._book.writes(named, {path: owners.get(path.rpartition(".")[0], "") for path in named})
        self.born = self._book.born(named)
        self.made = self._book.made(named)


class Watch:
    """The context manager of `watch_writes`."""

    def __init__(self, root: FrameType | None) -> None:
        self._log = WriteLog(root)
        self._stack = ExitStack()

    def __enter__(self) -> WriteLog:
        with ExitStack() as stack:
            self._log._watched = stack.enter_context(watched_seeding(self._log._book.root))
            if "torch._dynamo" in sys.modules:  # compiled code runs as written, or the recorder would be compiled too
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(_Recorder(self._log._book))
            self._stack = stack.pop_all()
        return self._log

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
        self._log._book.root = None
        if tb is not None:
            _leave_out_ours(tb)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch ships it without types
    """Hands every operator, with what it was given and gave, to the book."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keeps torch from importing its compiler, over a second, for the first operator that is recorded."""
        return False

    def __init__(self, book: WriteBook) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch ships it without types
        self._book = book

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        result = func(*args, **named)
        if isinstance(func, torch._ops.OpOverload):
            try:
                self._book.note(func, args, named, result)
            except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:  # a new kind of tensor
                self._book.missed.append(f"{func}: {error}")
        return result


def held_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yields every name of every parameter, then buffer, that has plain values in memory: not lazy, meta, quantised,
    sparse or distributed.
    """
    for named in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        for path, tensor in named:
            if not tensor.is_meta and address(tensor) is not None and extent(tensor) is not None:
                yield path, tensor


def _leave_out_ours(tb: TracebackType) -> None:
    """Takes the recorder, and torch's frame behind it, out of a user's traceback."""
    while tb.tb_next is not None:
        if tb.tb_next.tb_frame.f_code.co_filename in (__file__, torch._ops.__file__):
            tb.tb_next = tb.tb_next.tb_next
        else:
            tb = tb.tb_next
