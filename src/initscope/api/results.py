"""What a user holds after a run: columns, figures, the report."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initscope.api.summary_html import summary_html
from initscope.base.errors import EnvironmentFault, UsageError, unknown_name
from initscope.base.quantities import counted
from initscope.figures import catalogue
from initscope.records.results import Moment, Results
from initscope.records.start_check import StartCheck
from initscope.report.atomic import write_atomically
from initscope.report.page import report_html, write_report
from initscope.report.tables import history_rows, runs_rows
from initscope.report.why import explain
from initscope.stats.outcomes import classify
from initscope.store.reading import ReadableFolder

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from initscope.records.study import Study

PAGES = (".html", ".htm")


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
        """One row a run: the columns of runs.csv, and `outcome`.

        An outcome is learned, partly, at chance, diverged, failed or unknown.
        """
        outcomes = {(key, str(seed)): outcome for (key, seed), outcome in classify(self._records).items()}
        rows = runs_rows(self._records)
        return Columns.from_rows(
            [{**row, "outcome": outcomes[str(row["condition"]), str(row["seed"])]} for row in rows]
        )

    @property
    def history(self) -> Columns:
        """One row a run and epoch: the columns of history.csv."""
        return Columns.from_rows(history_rows(self._records))

    @property
    def start_checks(self) -> tuple[StartCheck, ...]:
        """What `check` said of each condition before training; empty for folders of before it was asked."""
        return self._records.start_checks

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of the figures that can be drawn."""
        return catalogue.names(self._records)

    def figure(self, name: str) -> Figure:
        """Returns one figure as a matplotlib Figure; raises UsageError for a name that is not in `figures`."""
        return catalogue.draw(self._records, name).figure

    def weights(self, condition: str, seed: int, parameter: str, moment: Moment = "final") -> np.ndarray | None:
        """Returns a kept parameter of one run, "initial" or "final"; None for a run that is not here.

        Raises: UsageError for a parameter that no figure of the study names, since only those are kept.
        """
        kept = self.study.kept_parameters
        if parameter not in kept:
            raise UsageError(
                f"the values of {parameter!r} were not kept",
                legal=f"parameters that a figure of the study names: {', '.join(kept) or 'none here'}",
                do="name it in [figures] and run the study into a new folder",
            )
        return self._records.weights(condition, seed, parameter, moment)

    def explain(self, condition: str) -> tuple[str, ...]:
        """Returns why the runs of `condition` ended as they did: sentences made of what was measured in them.

        Raises: UsageError for a condition that has no runs here.
        """
        if condition not in self._records.conditions:
            raise unknown_name("condition", condition, self._records.conditions)
        return explain(self._records, condition).sentences

    def report(self, path: str | Path | None = None) -> Path:
        """Writes the report and returns its path.

        Arguments: `path` is a folder, which gets report.html, or a file whose name ends in .html; the output folder by
        default. Folders are made where they are missing. Raises: EnvironmentFault where it cannot be written.
        """
        place = self.folder if path is None else Path(path)
        drawings = [catalogue.draw(self._records, name) for name in self.figures]
        if place.suffix.lower() in PAGES and not place.is_dir():
            return write_atomically(place, report_html(self._records, figures=drawings).encode())
        return write_report(self._records, place, figures=drawings)

    def __repr__(self) -> str:
        runs = self._records.runs
        return f"StudyResults({self.study.name!r}, {counted(len(runs), 'run')}, {str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the table of the terminal, and a strip of its seeds' results a condition."""
        return summary_html(self._records, folder=self.folder)


def _array(values: list[Any]) -> np.ndarray:
    known = [value for value in values if value is not None]
    if len(known) < len(values) and all(isinstance(value, int | float) for value in known):
        values = [np.nan if value is None else value for value in values]
    return np.array(values, dtype=object if any(value is None for value in values) else None)
