"""The loopback upstream, started once and its records cleared for each test; and the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.loopback import Loopback


@pytest.fixture(scope="session")
def running_loopback() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running


@pytest.fixture
def loopback(running_loopback: Loopback) -> Loopback:
    running_loopback.plays.clear()
    running_loopback.requests.clear()
    return running_loopback


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """What is logged during the test, one dict a line."""
    with capture_logs() as captured:
        yield captured
