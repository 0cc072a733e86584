"""A study read back from an output folder, where a fault is a damaged folder and not a mistake of the user's."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from initscope.base.errors import EnvironmentFault
from initscope.records.study import Study


def stored_study(text: str | None, *, database: Path) -> Study:
    """Returns the study whose TOML text was stored in `database`; raises EnvironmentFault where it is no study."""
    if text is None:
        raise EnvironmentFault(
            "this folder was left before its study was written",
            where=str(database),
            do="run the study again into the same folder",
        )
    try:
        return Study.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise EnvironmentFault(
            "the study stored in this folder cannot be read",
            where=str(database),
            value=str(error).splitlines()[0],
            do="keep the folder, and run the study into another one with --out",
        ) from error
