"""The shape and type of an input as text ("8x3x32x32:float32"), and inputs drawn from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from initscope.base.errors import UsageError, nearest
from initscope.base.streams import stream_seed

DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.int8,
        torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool,
    )
}  # fmt: skip
LEGAL = "sizes with the batch first and a dtype where it is no float: 8,3,32,32 or 4,128:int64 (8x3x32x32 is the same)"


@dataclass(frozen=True, kw_only=True)
class InputShape:
    """Sizes with the batch among them, the type (None: that of the model's parameters), and where integers end."""

    sizes: tuple[int, ...]
    dtype: torch.dtype | None = None
    below: int | None = None

    def __str__(self) -> str:
        text = "x".join(map(str, self.sizes))
        return text if self.dtype is None else f"{text}:{str(self.dtype).removeprefix('torch.')}"

    @property
    def whole(self) -> bool:
        """Whether entries are integers."""
        return self.dtype is not None and not self.dtype.is_floating_point and not self.dtype.is_complex

    def drawn(self, *, seed: int, name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Returns the input: N(0, 1) entries, for complex types of E|z|^2 = 1; integers uniform from 0 to `below`.

        It depends on (seed, name, shape) alone. `dtype` is that of floats whose type is left open.
        """
        generator = torch.Generator().manual_seed(stream_seed(seed, "synthetic input", name))
        wanted = self.dtype or dtype
        try:
            return self._drawn(generator, wanted).to(device=device, dtype=wanted)
        except (RuntimeError, MemoryError) as error:
            raise UsageError(
                "there is no memory for an input of this shape", where=name, value=str(self), do="name a smaller one"
            ) from error

    def _drawn(self, generator: torch.Generator, wanted: torch.dtype) -> Tensor:
        if self.whole:
            below = 2 if wanted == torch.bool else min(self.below or 2, 127 if wanted == torch.int8 else 2**62)
            return torch.randint(0, max(below, 1), self.sizes, generator=generator)
        return torch.randn(
            self.sizes, generator=generator, dtype=torch.complex64 if wanted.is_complex else torch.float32
        )


def parse_shape(text: str) -> InputShape:
    """Returns the shape that a text like "8x3x32x32" or "2x16:int64" names, the batch among the sizes.

    Raises: UsageError for anything else, with what is legal.

    Example:
        >>> parse_shape("2x16:int64").sizes
        (2, 16)
    """
    sizes, colon, kind = text.strip().partition(":")
    parts = re.split(r"[x×,]", sizes.strip().lower())
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError("cannot read this as the shape of an input", value=repr(text), legal=LEGAL)
    numbers = tuple(int(part) for part in parts)
    if 0 in numbers:
        raise UsageError("an input must have no axis of length 0", value=repr(text), legal=LEGAL)
    if not colon:
        return InputShape(sizes=numbers)
    kind = kind.strip().removeprefix("torch.")
    if kind not in DTYPES:
        near = nearest(kind, DTYPES)
        raise UsageError(
            f"unknown dtype {kind!r}",
            value=repr(text),
            legal=", ".join(DTYPES),
            do=f"did you mean {near!r}?" if near else None,
        )
    return InputShape(sizes=numbers, dtype=DTYPES[kind])
