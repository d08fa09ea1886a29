"""One browser for all tests of this folder, and for each test windows of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from playwright.sync_api import Browser, Page

from tests.browser.chromium import NAMES, Windows, executable, launched
from tests.live import Server, Servers


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = executable()
    if path is None:
        pytest.skip(f"No browser: none of {', '.join(NAMES)} is here (apt install chromium).")
    with pytest.MonkeyPatch.context() as patched, launched(path) as running:
        # playwright's loop runs in this thread: Django takes it for async code, and keeps other
        # connections for it than for what comes before and after.
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield running
        connections.close_all()


@pytest.fixture
def site(browser: Browser, servers: Servers) -> Server:
    """A web process, which is not to be forgiven what the test's own thread is."""
    return servers(DJANGO_ALLOW_ASYNC_UNSAFE="")


@pytest.fixture
def windows(browser: Browser, site: Server) -> Iterator[Windows]:
    """Windows on the site; no page may have complained."""
    opened = Windows(browser, site.url)
    yield opened
    opened.close()
    assert opened.complaints == []


@pytest.fixture
def page(windows: Windows) -> Page:
    """A window on a laptop, nobody logged in."""
    return windows.open()
