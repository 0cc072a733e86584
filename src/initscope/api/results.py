"""What a user holds after a run: columns, figures, the report."""

from __future__ import annotations

import html
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initscope.base.errors import EnvironmentFault
from initscope.base.quantities import counted, percent
from initscope.figures import catalogue
from initscope.records.results import Moment, Results
from initscope.report.page import write_report
from initscope.report.tables import history_rows, runs_rows
from initscope.stats.outcomes import classify
from initscope.stats.summary import summarise
from initscope.store.reading import ReadableFolder

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from initscope.records.study import Study


class Columns(Mapping[str, np.ndarray]):
    """A table as named columns, each a numpy array with one entry a row.

    Example:
        >>> Columns({"seed": np.array([0, 1])})["seed"].tolist()
        [0, 1]
    """

    def __init__(self, columns: Mapping[str, np.ndarray]) -> None:
        self._columns = dict(columns)

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """Returns the columns of `rows`; numbers that are None become NaN."""
        names = tuple(rows[0]) if rows else ()
        return cls({name: _array([row[name] for row in rows]) for name in names})

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __iter__(self):  # type: ignore[no-untyped-def]  # Mapping fixes the type
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        rows = len(next(iter(self._columns.values()))) if self._columns else 0
        return f"Columns({counted(rows, 'row')}: {', '.join(self._columns)})"

    def to_pandas(self) -> pandas.DataFrame:
        """Returns the table as a pandas DataFrame; raises EnvironmentFault where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise EnvironmentFault("pandas is not installed", do='pip install "initscope[pandas]"') from error
        return pandas.DataFrame(self._columns)


class StudyResults:
    """The results of a study in its output folder.

    `runs` and `history` are tables (`Columns`); `figure(name)` draws one of `figures`; `report(path)` writes the page.
    """

    def __init__(self, records: Results, folder: Path, *, reader: ReadableFolder) -> None:
        self._records, self.folder = records, folder
        self.close = weakref.finalize(self, reader.close)
        """Closes the folder; happens by itself when the results are no longer used."""

    @property
    def study(self) -> Study:
        """The study, as far as it has been run."""
        return self._records.study

    @property
    def records(self) -> Results:
        """The frozen records everything else is computed from."""
        return self._records

    @property
    def runs(self) -> Columns:
        """One row a run: the columns of runs.csv, and `outcome` (learned, partly, at chance, diverged, failed, unknown)."""
        outcomes = classify(self._records)
        rows = runs_rows(self._records)
        return Columns.from_rows([{**row, "outcome": outcomes[(row["condition"], row["seed"])]} for row in rows])

    @property
    def history(self) -> Columns:
        """One row a run and epoch: the columns of history.csv."""
        return Columns.from_rows(history_rows(self._records))

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of the figures that can be drawn."""
        return catalogue.names(self._records)

    def figure(self, name: str) -> Figure:
        """Returns one figure as a matplotlib Figure; raises UsageError for a name that is not in `figures`."""
        return catalogue.draw(self._records, name).figure

    def weights(self, condition: str, seed: int, parameter: str, moment: Moment = "final") -> np.ndarray | None:
        """Returns a kept parameter of one run, "initial" or "final"; None where it was not kept."""
        return self._records.weights(condition, seed, parameter, moment)

    def report(self, path: str | Path | None = None) -> Path:
        """Writes the report into the folder `path` (the output folder by default) and returns the page's path."""
        folder = self.folder if path is None else Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        drawings = [catalogue.draw(self._records, name) for name in self.figures]
        return write_report(self._records, folder, figures=drawings)

    def __repr__(self) -> str:
        runs = self._records.runs
        return f"StudyResults({self.study.name!r}, {counted(len(runs), 'run')}, {str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """Returns the summary table for notebooks."""
        head = "".join(
            f"<th style='text-align:{'left' if place == 0 else 'right'}'>{name}</th>"
            for place, name in enumerate(("condition", "n", "learned", "test accuracy, median [range]"))
        )
        rows = "".join(_html_row(row) for row in summarise(self._records))
        where = html.escape(f"{self.study.name} on {self._records.data.name}, {self.folder}")
        return f"<table><caption>{where}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _html_row(row: Any) -> str:
    cells = (
        str(row.n),
        f"{row.outcomes.learned.count} of {row.n}",
        f"{percent(row.median)} [{row.minimum:.1f}, {row.maximum:.1f}]",
    )
    numbers = "".join(f"<td style='text-align:right'>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr><td style='text-align:left'>{html.escape(row.condition)}</td>{numbers}</tr>"


def _array(values: list[Any]) -> np.ndarray:
    if any(value is None for value in values) and all(value is None or isinstance(value, int | float) for value in values):
        values = [np.nan if value is None else value for value in values]
    return np.array(values, dtype=object if any(value is None for value in values) else None)
