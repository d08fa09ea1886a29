"""The part of a tenant's page that keeps itself new, and ends with the login."""

from __future__ import annotations

import re

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from tenants_app.models import Tenant
from tests.admin_site import make_staff, url_of
from tests.browser.chromium import Windows
from tests.factories import make_budget, make_tenant

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("browser")]

LOOKED_AT_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"


def test_bars_say_that_the_login_has_ended_and_ask_no_more(windows: Windows) -> None:
    acme = make_tenant()
    budget = make_budget(acme, "tokens", "day", 1000)
    page = windows.open(make_staff(superuser=True))
    url = url_of(Tenant, "change", acme.pk)
    page.goto(url)
    part = page.locator("[data-live]")
    budget.limit = 2000
    budget.save()
    page.evaluate(LOOKED_AT_AGAIN)
    expect(part).to_contain_text("2,000")
    Session.objects.all().delete()
    page.evaluate(LOOKED_AT_AGAIN)
    expect(part).to_contain_text(re.compile(r"Not updated since .+\. Your login has ended: log in"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(LOOKED_AT_AGAIN)
    page.wait_for_timeout(5_500)
    assert asked == []
    part.get_by_role("link", name="log in again").click()
    expect(page).to_have_url(re.compile(r"/admin/login/\?next=" + re.escape(url)))
