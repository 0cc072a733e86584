from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integrations.starts import SevenBias, SevenWarned, only


@pytest.fixture
def seven_rules() -> Iterator[None]:
    """Two rules, an error and a warning, and no others."""
    with only(SevenBias, SevenWarned):
        yield
