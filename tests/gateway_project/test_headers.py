"""What browsers are told of the admin's pages, and that the pages keep to it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from gateway_project import headers
from gateway_project.site import Site, static_files
from tests.admin_site import logged_in, make_world, text_of
from tests.architecture.sources import ROOT
from tests.gateway_project.test_admin import pages
from tests.gateway_project.test_asgi import call

PRODUCTION = {
    "SECRET_KEY": "a-text-as-long-as-a-secret-has-to-be-0123456789-abcdef",
    "ALLOWED_HOSTS": "gateway.example.com",
    "ENVIRONMENT": "production",
}


class Scripts(HTMLParser):
    """Collects what a page's policy would refuse to run."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        kind = given.get("type") or "text/javascript"
        self._inside = tag == "script" and "src" not in given and "json" not in kind
        if tag in ("object", "embed", "iframe", "base"):
            self.refused.append(tag)
        for name, value in attrs:
            if name.startswith(("on", "hx-on")):
                self.refused.append(f"{tag} {name}")
            if (value or "").strip().lower().startswith("javascript:"):
                self.refused.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.refused.append(data.strip()[:60])


def refused(page: str) -> list[str]:
    parser = Scripts()
    parser.feed(page)
    return parser.refused


@pytest.mark.django_db
def test_no_page_has_a_script_that_its_policy_refuses() -> None:
    client = logged_in(superuser=True)
    make_world()
    seen = 0
    for url in [*pages(client), reverse("usage_report"), reverse("index")]:
        response = client.get(url, follow=True)
        assert refused(text_of(response)) == [], url
        assert response["Content-Security-Policy"] == headers.CONTENT_SECURITY_POLICY
        assert "no-store" in response["Cache-Control"], url
        seen += 1
    assert seen > 80


@pytest.mark.parametrize(
    "page",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        '<a href=" JavaScript:alert(1)">x</a>',
        "<iframe></iframe>",
    ],
)
def test_reader_of_pages_finds_what_would_be_refused(page: str) -> None:
    assert len(refused(page)) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/login/", "/admin/", "/", "/admin/no/such/page/"])
def test_every_answer_carries_the_headers(client: Client, path: str) -> None:
    answer = client.get(path)
    assert {
        name: answer.headers.get(name)
        for name in (
            "X-Content-Type-Options",
            "X-Frame-Options",
            "Referrer-Policy",
            "Cross-Origin-Opener-Policy",
            "Permissions-Policy",
        )
    } == {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": headers.PERMISSIONS_POLICY,
    }
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'; " in policy
    assert "default-src 'none'; " in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.django_db
def test_refused_host_gets_the_headers_too(client: Client, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["gateway.example.com"]
    answer = client.get("/admin/login/", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]


def test_static_files_are_what_they_say() -> None:
    url = next(url for url, _ in static_files() if url.endswith("/unfold/css/styles.css"))
    sent = asyncio.run(call(Site(), url))
    assert dict(sent[0]["headers"])[b"x-content-type-options"] == b"nosniff"


def manage(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """manage.py with production's environment."""
    unset = ("SECURE_COOKIES", "DEBUG", "DJANGO_SETTINGS_MODULE")
    base = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [sys.executable, "manage.py", *command.split()],
        cwd=ROOT,
        env=base | PRODUCTION | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_production_has_nothing_to_complain_about() -> None:
    done = manage("check --deploy --fail-level WARNING")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "no issues" in done.stdout


def test_a_weak_production_is_told_of() -> None:
    done = manage("check --deploy --fail-level WARNING", SECURE_COOKIES="false")
    assert done.returncode == 1
    for name in ("W004", "W008", "W012", "W016"):
        assert f"security.{name}" in done.stderr
