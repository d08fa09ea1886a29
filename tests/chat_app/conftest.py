"""The log of a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """What is logged during the test, one dict a line."""
    with capture_logs() as captured:
        yield captured
