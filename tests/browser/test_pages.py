"""Every page of the admin for those who see little, use no mouse, or hold a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page, expect

from tenants_app.models import ApiKey, Tenant, Upstream
from tests.admin_site import make_staff, make_world, registered, url_of
from tests.browser.chromium import LAPTOP, PHONE, Windows, axe
from usage_app.models import Reservation

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("browser")]

# The standard, levels A and AA, and what is good practice.
EXAMINE = """
async (rules) => {
  const options = { resultTypes: ["violations"] };
  if (rules.length) options.runOnly = rules;
  const { violations } = await axe.run(document, options);
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}
"""
CONTRAST = ["color-contrast"]
TOO_WIDE = "document.scrollingElement.scrollWidth - window.innerWidth"


def visit_all(page: Page) -> Iterator[str]:
    """Open one page after the other: of each model its list, its form, and a row."""
    yield _open(page, reverse("admin:index"))
    yield _open(page, reverse("usage_report"))
    for model in registered():
        yield _open(page, url_of(model, "changelist"))
        links = "#result_list a[href*='/change/'], a.addlink"
        hrefs = page.eval_on_selector_all(links, "all => all.map(a => a.href)")
        for href in dict.fromkeys(hrefs[:1] + hrefs[-1:]):
            yield _open(page, href)


def _open(page: Page, url: str) -> str:
    page.set_viewport_size(LAPTOP)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")
    page.goto(url)
    return page.url


def problems(page: Page, url: str) -> Iterator[str]:
    """What is wrong with an open page: on a laptop, and in the dark on a phone."""
    if "('" in page.locator("#content").inner_text():
        yield f"{url}: Python in place of words"
    yield from (f"{url}: {problem}" for problem in page.evaluate(EXAMINE, []))
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="dark")
    if page.evaluate(TOO_WIDE) > 0:
        yield f"{url}: wider than a phone by {page.evaluate(TOO_WIDE)}"
    # Lists are of one cloth: the colours of the tenants' stand for all.
    if page.locator("#changelist").count() and "/tenant/" not in url:
        return
    yield from (f"{url}: in the dark: {problem}" for problem in page.evaluate(EXAMINE, CONTRAST))


def visit_actions(page: Page) -> Iterator[str]:
    """The pages that do something, before and after their first step."""
    make_world()
    tenant, upstream = Tenant.objects.latest("pk"), Upstream.objects.latest("pk")
    for name in ("suspend", "try_it", "issue_key", "issue_keys", "credit", "history"):
        yield _open(page, url_of(Tenant, name, tenant.pk))
    yield _open(page, url_of(Tenant, "import_csv"))
    yield _open(page, url_of(ApiKey, "rotate", tenant.keys.latest("pk").pk))
    for name, button in (("test_connection", "Test"), ("import_models", "Ask for its models")):
        yield _open(page, url_of(Upstream, name, upstream.pk))
        page.get_by_role("button", name=button).click()
        yield page.url


def test_pages_of_actions_are_for_everyone(windows: Windows) -> None:
    page = windows.open(make_staff(superuser=True))
    page.add_init_script(axe())
    found = [problem for url in visit_actions(page) for problem in problems(page, url)]
    Reservation.objects.all().delete()
    assert not found, "\n".join(found)


def test_every_page_is_for_everyone(windows: Windows) -> None:
    make_world()
    page = windows.open(make_staff(superuser=True))
    page.add_init_script(axe())
    found = [problem for url in visit_all(page) for problem in problems(page, url)]
    # The world's hold is nobody's, and the server must leave none.
    Reservation.objects.all().delete()
    assert not found, "\n".join(found)


def test_login_is_for_everyone(page: Page) -> None:
    page.add_init_script(axe())
    page.goto("/admin/")
    assert page.evaluate(EXAMINE, []) == []


def test_keyboard_reaches_what_a_mouse_does(windows: Windows) -> None:
    user = make_staff(superuser=True)
    page = windows.open(user)
    page.goto("/admin/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()

    page.get_by_role("button", name=user.username).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Dark").focus()
    page.keyboard.press("Space")
    expect(page.locator("html")).to_have_class("dark")

    page.get_by_role("button", name="Menu").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Tenants")).to_be_hidden()


def test_rows_are_added_without_a_complaint(windows: Windows) -> None:
    """`windows` fails on an error of a script."""
    make_world()
    Reservation.objects.all().delete()
    page = windows.open(make_staff(superuser=True))
    for model in (Tenant, Upstream, User):
        page.goto(url_of(model, "change", model._default_manager.latest("pk").pk))
        groups = page.locator(".formset > .form-group")
        for place in range(page.locator("a.add-row").count()):
            if (add := page.locator("a.add-row").nth(place)).is_visible():
                before = groups.count()
                add.click()
                expect(groups).to_have_count(before + 1)


# What Tab reached: its name, where it shows that the keyboard is there, and what covers its middle.
FOCUSED = """
() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  // A field of many values, and the box that removes a row, are marked as a whole.
  const whole = element.closest(".select2-container, label:has(.delete)") ?? element;
  const { left, top, width, height } = whole.getClientRects()[0];
  const over = document.elementFromPoint(left + width / 2, top + height / 2);
  return {
    name: element.id || element.textContent.trim().slice(0, 40) || element.outerHTML.slice(0, 80),
    marked: getComputedStyle(whole).outlineStyle !== "none",
    covered: !whole.contains(over) && !over?.contains(whole),
  };
}
"""


def test_keyboard_sees_where_it_is_on_a_tenants_page(windows: Windows) -> None:
    tenant = make_world()
    Reservation.objects.all().delete()
    page = windows.open(make_staff(superuser=True))
    page.goto(url_of(Tenant, "change", tenant.pk))
    # A link for each day: those of the charts are all alike.
    page.evaluate("document.querySelectorAll('svg a').forEach((a) => { a.tabIndex = -1 })")
    page.locator("#content").focus()
    reached = []
    page.keyboard.press("Tab")
    while focused := page.evaluate(FOCUSED):
        reached.append(focused)
        page.keyboard.press("Tab")
    names = {focused["name"] for focused in reached}
    assert names >= {"id_session_memory", "id_allow_list_enabled", "id_cost_center"}
    assert [focused for focused in reached if focused["covered"] or not focused["marked"]] == []


# Contrast with the white of what is grey, as axe does not look at it.
CONTRAST_OF = """
([selector, part]) => {
  const brush = document.createElement("canvas").getContext("2d");
  brush.fillStyle = "white";
  brush.fillRect(0, 0, 1, 1);
  brush.fillStyle = getComputedStyle(document.querySelector(selector), part).color;
  brush.fillRect(0, 0, 1, 1);
  const lights = [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3).map((light) => {
    const part = light / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 1.05 / (0.2126 * lights[0] + 0.7152 * lights[1] + 0.0722 * lights[2] + 0.05);
}
"""


def test_dates_are_named_and_what_is_grey_is_readable(windows: Windows) -> None:
    page = windows.open(make_staff(superuser=True))
    page.goto(url_of(ApiKey, "add"))
    for part, link in (("date", "Choose a Date"), ("time", "Choose a Time")):
        expect(page.get_by_role("textbox", name=f"Expires at, {part}")).to_be_visible()
        expect(page.get_by_role("link", name=f"Expires at: {link}")).to_be_visible()
    assert page.evaluate(CONTRAST_OF, ["#id_expires_at_0", "::placeholder"]) >= 4.5
    page.goto(url_of(Tenant, "add"))
    assert page.evaluate(CONTRAST_OF, [".tollgate-why", "::placeholder"]) >= 4.5
    assert (
        page.evaluate(CONTRAST_OF, [".field-default_model [aria-label='Related rows']", None]) >= 3
    )


def test_what_is_wrong_with_a_form_leads_to_its_fields(windows: Windows) -> None:
    page = windows.open(make_staff(superuser=True))
    page.goto(url_of(Tenant, "add"))
    page.get_by_label("Slug").fill("ACME")
    page.locator("#hosts-group a.add-row").click()
    page.locator("#id_hosts-0-host").fill("https://acme.example")
    page.locator("#fallbacks-group a.add-row").click()
    page.get_by_role("button", name="Save and continue editing").click()
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    top = "id => document.getElementById(id).getBoundingClientRect().y"
    assert page.evaluate(top, "id_slug") == page.evaluate(top, "id_name")
    expect(summary.get_by_role("listitem")).to_contain_text(
        ["Slug: Use small letters", "Name: This field", "Hosts, row 1, Host: A host is"]
    )
    for name, field in (("Slug", "slug"), ("Name", "name"), ("Host", "hosts-0-host")):
        summary.get_by_role("link", name=f"{name}:").press("Enter")
        expect(page.locator(f"#id_{field}")).to_be_focused()
