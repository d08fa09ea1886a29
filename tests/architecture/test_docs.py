"""The documentation names what is there: its links lead somewhere, and its lists are complete."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tenants_app.errors import TollgateError
from tests.architecture.sources import PACKAGES, ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
README_LINES = 150


def anchor(heading: str) -> str:
    """The fragment of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in HEADING.findall(page.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_can_be_found_from_the_index() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in (ROOT / "README.md", ROOT / "docs" / "README.md")
        for link in LINK.findall(page.read_text())
    }
    assert [page for page in PAGES if page not in linked and page.name != "README.md"] == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < README_LINES


def settings_read() -> set[str]:
    source = (ROOT / "gateway_project" / "settings.py").read_text()
    return set(re.findall(r"(?:env\.\w+|required)\(\s*\"([A-Z_]+)\"", source))


# What other parts of the program read: the seed, and `./dev` itself.
DEMO_SETTINGS = {
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"),
    *("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_GATEWAY_ID", "CLOUDFLARE_FORM", "CLOUDFLARE_MODEL"),
}
DEV_SETTINGS = {"PYTHON", "TOLLGATE_POSTGRES_BIN", "TEST_DATABASE_URL", "TOLLGATE_CHROMIUM"}


def test_settings_page_names_every_setting() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))
    assert named == settings_read() | DEMO_SETTINGS | DEV_SETTINGS


def test_env_example_names_every_setting() -> None:
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) == (
        settings_read() | DEMO_SETTINGS
    )


def test_errors_page_names_every_code_with_its_status() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    named = set(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", page, re.MULTILINE))
    for package in PACKAGES[1:]:
        importlib.import_module(f"{package}.errors")
    assert named == {(error.default_code, str(error.status_code)) for error in errors()}


def errors() -> set[type[TollgateError]]:
    found, waiting = {TollgateError}, [TollgateError]
    while waiting:
        below = waiting.pop().__subclasses__()
        waiting += below
        found.update(below)
    return found


def test_plan_names_tests_that_are_there() -> None:
    missing, path = [], ""
    plan = (ROOT / "docs" / "plan.md").read_text()
    for named, name in re.findall(r"`(tests/[\w/]+\.py)?::(\w+)`", plan):
        path = named or path
        file = ROOT / path
        if not file.exists() or not re.search(rf"def {name}\(", file.read_text()):
            missing.append(f"{path}::{name}")
    assert missing == []


def test_every_event_of_the_log_is_explained() -> None:
    calls = re.compile(r"\blog\.(?:debug|info|warning|error|exception)\(\s*\"(\w+)\"")
    sources = (path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    events = {event for source in sources for event in calls.findall(source)}
    page = (ROOT / "docs" / "operations.md").read_text()
    table = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {name for cell in table for name in re.findall(r"`(\w+)`", cell)} >= events
    assert "chat" in events
