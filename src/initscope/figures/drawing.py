"""What a figure function returns: the figure, its words and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float
Columns = dict[str, list[Cell]]
MOST_ROWS = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A drawn figure with everything a page needs beside it.

    `name` is its file name without suffix; `title` one sentence computed from the data; `caption` says what is drawn,
    on which data and over how many seeds; `alt` is the text alternative: the message with its numbers; `columns` are
    the numbers behind the figure, equally long lists under names with units (about `MOST_ROWS` rows at most, NaN
    where nothing was measured).
    """

    name: str
    figure: Figure
    title: str
    caption: str
    alt: str
    columns: Columns = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {key: len(column) for key, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of {self.name} differ in length: {lengths}")


def columns_of(names: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> Columns:
    """Returns the rows turned into columns in the order of `names`; a row must have every name.

    Example:
        >>> columns_of(["seed", "share"], [{"seed": 0, "share": 0.5}, {"seed": 1, "share": 1.0}])
        {'seed': [0, 1], 'share': [0.5, 1.0]}
    """
    return {name: [row[name] for row in rows] for name in names}
