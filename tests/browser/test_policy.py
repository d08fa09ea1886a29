"""A real browser keeps to the pages' policy, and finds nothing on them that breaks it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import expect

from tenants_app.models import Budget, Model, Tenant, Upstream
from tests.admin_site import make_world, url_of
from tests.browser.chromium import Windows
from usage_app.models import LedgerEntry, Price, Reservation

pytestmark = [
    pytest.mark.xdist_group("live"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(240),
]


def world() -> None:
    """Rows to look at; of no request, so no hold may be left."""
    make_world()
    Reservation.objects.all().delete()


def test_no_page_violates_its_policy(windows: Windows) -> None:
    """`windows` fails on whatever the console says of a violation."""
    world()
    root = User.objects.create_superuser("root", password="x")
    page = windows.open(root)
    addresses = [reverse("admin:index"), f"{reverse('usage_report')}?groupBy=model"]
    addresses += [url_of(model, "add") for model in (Upstream, Model, Budget)]
    for model in (Tenant, Price, LedgerEntry):
        row = model._default_manager.first()
        assert row is not None
        addresses += [url_of(model, "changelist"), url_of(model, "change", row.pk)]
    addresses.append(url_of(User, "change", root.pk))
    for address in addresses:
        page.goto(address)
        expect(page.locator("html")).to_have_attribute("x-bind", "themeBindings")


def test_dates_choices_and_the_dark_are_within_the_policy(windows: Windows) -> None:
    world()
    page = windows.open(User.objects.create_superuser("root", password="x"))
    page.goto(url_of(Price, "add"))
    page.locator(".select2-selection").first.click()
    expect(page.locator(".select2-results__option").first).to_contain_text("acme-model")
    page.keyboard.press("Escape")
    page.locator(".date-icon").first.click()
    expect(page.locator(".calendarbox").first).to_be_visible()
    page.evaluate("document.querySelector('html')._x_dataStack[0].switchTheme('dark')")
    expect(page.locator("html")).to_have_class("dark")


def test_script_that_came_from_outside_is_not_run(windows: Windows) -> None:
    page = windows.open()
    page.goto(reverse("admin:login"))
    page.evaluate(
        """() => { const script = document.createElement("script");
        script.textContent = "window.harmed = 1"; document.body.append(script) }"""
    )
    assert page.evaluate("window.harmed") is None
    assert len(windows.complaints) == 1
    assert "Content Security Policy" in windows.complaints.pop()
