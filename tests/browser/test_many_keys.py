"""The file of many keys' secrets arrives, also when a hand is too quick for it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from tenants_app import keys
from tenants_app.models import ApiKey
from tests.admin_site import make_staff
from tests.browser.chromium import Windows
from tests.factories import make_tenant

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("browser")]


def test_double_click_downloads_the_file_of_the_keys(windows: Windows, tmp_path: Path) -> None:
    acme = make_tenant()
    page = windows.open(make_staff(superuser=True))
    page.goto(reverse("admin:tenants_app_tenant_issue_keys", args=[acme.pk]))
    file = {"name": "keys.csv", "mimeType": "text/csv", "buffer": b"name\nseat 1\nseat 2\n"}
    page.set_input_files("input[type=file]", file)  # type: ignore[arg-type]
    page.get_by_label("Reason").fill("The workshop")
    page.get_by_role("button", name="Show the keys").click()
    expect(page.get_by_text("2 keys would be issued")).to_be_visible()

    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Issue and download").dblclick()
    assert sent.count("POST") == 1
    downloading.value.save_as(tmp_path / "keys.csv")
    rows = list(csv.DictReader((tmp_path / "keys.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["seat 1", "seat 2"]
    digests = {bytes(key.digest) for key in ApiKey.objects.all()}
    assert {keys.digest(row["secret"]) for row in rows} == digests

    # The page is still there; pressing once more says that this is over.
    page.wait_for_function("!document.querySelector('form[data-once]').dataset.sent")
    page.get_by_role("button", name="Issue and download").click()
    page.get_by_role("link", name="revoke them together").click()
    expect(page.get_by_role("link", name="seat 2")).to_be_visible()
