"""The machine's own Chromium, driven by playwright, and windows of it that hear every complaint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
LAPTOP = {"width": 1366, "height": 768}
PHONE = {"width": 390, "height": 844}


def executable() -> str | None:
    """TOLLGATE_CHROMIUM, or the first on the PATH."""
    return os.environ.get("TOLLGATE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched(path: str) -> Iterator[Browser]:
    """A headless browser; until it is closed, an event loop runs in this thread."""
    # Its sandbox refuses to work for root, as which containers run tests.
    options = ["--disable-gpu", "--disable-quic", "--font-render-hinting=none"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=options)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Windows:
    """Opens windows on one server; `complaints` is what their consoles said of errors, a policy
    that was violated, and other machines that a page asked.
    """

    browser: Browser
    url: str
    complaints: list[str] = field(default_factory=list)
    _opened: list[BrowserContext] = field(default_factory=list)

    def open(self, user: User | None = None, *, phone: bool = False, dark: bool = False) -> Page:
        """A new window without a past, logged in as this user."""
        context = self.browser.new_context(
            base_url=self.url,
            viewport=PHONE if phone else LAPTOP,  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
            has_touch=phone,
            reduced_motion="reduce",
            timezone_id="UTC",
            locale="en-GB",
        )
        self._opened.append(context)
        context.set_default_timeout(10_000)
        if user is not None:
            context.add_cookies([{"name": "sessionid", "value": session(user), "url": self.url}])
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", self._watch)
        return page

    def close(self) -> None:
        for context in self._opened:
            context.close()

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.page.url}: {message.text}")

    def _watch(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"asked another machine: {request.url}")


def session(user: User) -> str:
    """The cookie of a login."""
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def axe() -> str:
    """The source of axe-core: it is put into pages by the tests, and never served."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()
