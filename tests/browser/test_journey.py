"""A day at the desk, in a real browser: from the login to a key that opens nothing any more."""

from __future__ import annotations

import re
import subprocess

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from tenants_app.models import TenantFallback
from tests.factories import make_model, make_route
from tests.live import Server

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("browser")]

NOTHING_USED = re.compile(r"^\s*0 used")


def choose(page: Page, field: str, text: str) -> None:
    """Pick from a field with suggestions, by keyboard alone."""
    page.locator(f"#id_{field} + .select2 .select2-selection").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".select2-dropdown .select2-search__field")).to_be_focused()
    page.keyboard.type(text)
    expect(page.locator(".select2-results__option--highlighted")).to_have_text(text)
    page.keyboard.press("Enter")


def copied(page: Page, element: str) -> str:
    """What the button beside an element puts into the clipboard."""
    button = page.locator(f"button[data-copy={element}]")
    button.click()
    expect(button).to_have_text("Copied")
    return str(page.evaluate("navigator.clipboard.readText()"))


def run(command: str) -> tuple[str, str]:
    """The answer to a command that was copied from a page: its status, and what was printed."""
    told = ["sh", "-c", f"{command} --silent --write-out '\n%{{http_code}}'"]
    done = subprocess.run(told, capture_output=True, text=True, timeout=30)
    answer, _, status = done.stdout.rpartition("\n")
    return status, answer


def log_in(page: Page) -> None:
    # The server has not the tests' fast hasher.
    password = make_password("a long word of staff", hasher=PBKDF2PasswordHasher())
    User.objects.create(username="ann", password=password, is_staff=True, is_superuser=True)
    page.goto("/admin/")
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password").fill("a long word of staff")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_title(re.compile("Overview"))


def make_tenant(page: Page) -> None:
    page.get_by_role("link", name="Tenants").click()
    page.get_by_title("Add tenant").click()
    page.get_by_label("Slug").fill("acme")
    page.get_by_label("Name").first.fill("Acme")
    page.get_by_label("Tokens per day").fill("1000")
    choose(page, "default_model", "demo-echo")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_text("was added successfully")).to_be_visible()


def order_fallbacks(page: Page) -> None:
    """Three new rows, moved and removed by keyboard alone."""
    group = page.locator("#fallbacks-group")
    for row, model in enumerate(("first", "second", "third")):
        group.locator("a.add-row").press("Enter")
        choose(page, f"fallbacks-{row}-model", model)
    group.get_by_role("button", name="Move up").nth(2).press("Enter")
    expect(group.get_by_role("status")).to_have_text("third is 2 of 3.")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(group.get_by_role("status")).to_have_text("third is 1 of 3.")
    page.get_by_role("button", name="Save and continue editing").press("Enter")
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    chain = TenantFallback.objects.order_by("position")
    assert [str(row.model) for row in chain] == ["third", "first", "second"]

    group.get_by_role("button", name="Move down").nth(0).press("Enter")
    group.get_by_role("checkbox", name="Remove").nth(0).press("Space")
    expect(group.get_by_text("This item will be deleted.").first).to_be_visible()
    page.get_by_role("button", name="Save and continue editing").press("Enter")
    expect(group.locator(".form-row")).to_have_count(3)
    assert [str(row.model) for row in chain.all()] == ["third", "second"]


def test_a_tenant_its_key_a_call_and_the_end_of_the_key(page: Page, site: Server) -> None:
    make_route(make_model("demo-echo"))
    for model in ("first", "second", "third"):
        make_model(model)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    log_in(page)
    make_tenant(page)
    order_fallbacks(page)

    page.get_by_role("link", name="Issue key").click()
    page.get_by_label("Name").fill("the app")
    page.get_by_role("button", name="Issue key").click()
    secret, command = copied(page, "secret"), copied(page, "curl")
    assert f"Bearer {secret}'" in command

    # The bar moves by itself: nobody reloads the page.
    page.get_by_role("link", name="To the tenant").click()
    bar = page.locator(".tollgate-bar", has_text="per day")
    expect(bar.locator("p")).to_contain_text(NOTHING_USED)
    status, answer = run(command)
    assert (status, "event: done" in answer) == ("200", True)
    expect(bar.locator("p")).not_to_contain_text(NOTHING_USED, timeout=30_000)
    assert float(bar.locator("rect.used").get_attribute("width") or 0) > 0

    page.get_by_role("link", name="Revoke the app").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Revoked: ")).to_be_visible()
    assert secret not in page.content()
    assert run(command)[0] == "401"
