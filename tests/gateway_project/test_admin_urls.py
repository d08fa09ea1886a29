"""Every address of the admin, and who may open it: a new one that no table knows fails here."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from gateway_project import roles
from tests.admin_site import TOKEN, logged_in, make_world, registered, url_of
from tests.admin_walk import autocompletes, names, pages_of, row_of, told
from tests.gateway_project.test_admin import READ_ONLY
from tests.gateway_project.test_roles import OPENED, ROLES, browser, rights

pytestmark = pytest.mark.django_db

WHO = ("anonymous", "nobody", *ROLES, "superuser")
# The right that opens each page of a model.
PAGES = {"changelist": "v", "change": "v", "history": "v", "add": "a", "delete": "d"}
# What nobody may, whatever their rights: facts stay, and so does what is on the books.
NEVER = dict.fromkeys(READ_ONLY, "acd") | {
    "gateway_project.LoginThrottle": "ac",
    "tenants_app.ApiKey": "d",
    "tenants_app.BudgetRaise": "cd",
    "tenants_app.Tenant": "d",
    "usage_app.Price": "d",
    "usage_app.StaffToken": "d",
}
# Who may open what is more than these pages: O(perator), F(inance), A(uditor), T(enant staff), and
# always superusers. Of actions on a row, on a list, and pages that belong to no model.
MORE = {
    "auth_user_password_change": "",
    "tenants_app_apikey_end_overlap": "OT",
    "tenants_app_apikey_issue": "OT",
    "tenants_app_apikey_revoke": "OT",
    "tenants_app_apikey_rotate": "OT",
    "tenants_app_change_export": "OAT",
    "tenants_app_budget_export_csv": "OFAT",
    "tenants_app_budget_import_csv": "O",
    "tenants_app_budget_raise_limit": "O",
    "tenants_app_budgetraise_cancel": "O",
    "tenants_app_tenant_credit": "F",
    "tenants_app_tenant_export_csv": "OFAT",
    "tenants_app_tenant_import_csv": "O",
    "tenants_app_tenant_issue_key": "OT",
    "tenants_app_tenant_issue_keys": "OT",
    "tenants_app_tenant_live": "OFAT",
    "tenants_app_tenant_reprice": "F",
    "tenants_app_tenant_resume": "O",
    "tenants_app_tenant_suspend": "O",
    "tenants_app_tenant_try_it": "OT",
    "tenants_app_upstream_import_models": "O",
    "tenants_app_upstream_test_connection": "O",
    "usage_app_alert_send_again": "O",
    "usage_app_ledgerentry_correct": "F",
    "usage_app_providerbill_import_bill": "F",
    "usage_app_providerbill_match_again": "F",
    "usage_app_stafftoken_revoke": "F",
    "usage_app_statement_close": "F",
    "usage_app_statement_file": "OFAT",
    "usage_app_statement_to_close": "F",
    "usage_report": "OFAT",
}
# Actions on the chosen rows of a list; deleting them is a matter of the right to delete.
ON_LISTS = {
    "tenants_app.ApiKey": {"revoke_selected": "OT"},
    "tenants_app.Tenant": {"suspend_selected": "O", "resume_selected": "O"},
}
NOT_IN_BULK = {
    "tenants_app.Tenant",
    "usage_app.Margin",
    "usage_app.Price",
    "usage_app.ProviderBill",
}
# The same for all of the staff, and what they see there depends on their rights.
OPEN = {"index", "search", "jsi18n", "password_change", "password_change_done"}
# Asked below, each in its own way.
OTHERS = {
    *("app_list", "autocomplete", "login", "logout", "oidc_callback", "oidc_login"),
    "view_on_site",
}


def test_every_address_is_in_a_table() -> None:
    generic = {
        f"{model._meta.app_label}_{model._meta.model_name}_{page}"
        for model in registered()
        for page in PAGES
    }
    assert names() == generic | MORE.keys() | OPEN | OTHERS


@pytest.mark.parametrize("who", WHO)
def test_every_address_opens_for_those_who_may_and_no_others(
    who: str, caplog: pytest.LogCaptureFixture
) -> None:
    # A line and a trace for each refusal would take longer than refusing.
    caplog.set_level(logging.CRITICAL, "django.request")
    roles.make()
    acme = make_world()
    rows = {model: row_of(model, acme) for model in registered()}
    client, found = client_of(who), {}
    for url, may in addresses(who, rows):
        for response in answers(client, url, may=may):
            assert TOKEN not in told(response)
            if (is_open := opened(response)) != may:
                found[response.request["REQUEST_METHOD"], url] = is_open
    assert found == {}


@pytest.mark.parametrize("who", ROLES)
def test_lists_offer_the_actions_that_a_role_may_take(who: str) -> None:
    roles.make()
    make_world()
    client = browser(who)
    for model in registered():
        label = model._meta.label
        if "v" not in rights(who, label) or label in READ_ONLY:
            continue
        response = client.get(url_of(model, "changelist"))
        form = response.context.get("action_form")
        offered = {name for name, _ in form.fields["action"].choices if name} if form else set()
        assert offered == actions_of(who, model), label


def client_of(who: str) -> Client:
    match who:
        case "anonymous":
            return Client()
        case "nobody":
            return logged_in()
        case "superuser":
            return logged_in(superuser=True)
    return browser(who)


def addresses(who: str, rows: dict[type[Model], Any]) -> Iterator[tuple[str, bool]]:
    """Every address, with the row where one is named, and whether it opens."""
    staff = who != "anonymous"
    for name in OPEN:
        yield reverse(f"admin:{name}"), staff
    yield reverse("usage_report"), may_more(who, "usage_report")
    apps: dict[str, bool] = {}
    for model, row in rows.items():
        label, opts = model._meta.label, model._meta
        apps[opts.app_label] = apps.get(opts.app_label, False) or may_page(who, label, "v")
        for page, url in pages_of(model, row):
            full = f"{opts.app_label}_{opts.model_name}_{page}"
            may = may_page(who, label, PAGES[page]) if page in PAGES else may_more(who, full)
            yield url, may
    for app, may in apps.items():
        yield reverse("admin:app_list", args=[app]), may
    for related, url in autocompletes().items():
        yield url, may_page(who, related._meta.label, "v")
    # Nothing here has an address outside of the admin.
    yield reverse("admin:view_on_site", args=[1, 1]), False


def may_page(who: str, label: str, right: str) -> bool:
    if who in ("anonymous", "nobody") or right in NEVER.get(label, ""):
        return False
    if who == "superuser":
        return True
    return right in rights(who, label) + OPENED.get((who, label), "")


def may_more(who: str, name: str) -> bool:
    return who == "superuser" or (who in ROLES and who[0] in MORE[name])


def actions_of(who: str, model: type[Model]) -> set[str]:
    label = model._meta.label
    own = {name for name, whose in ON_LISTS.get(label, {}).items() if who[0] in whose}
    deletes = may_page(who, label, "d") and label not in NOT_IN_BULK
    return own | ({"delete_selected"} if deletes else set())


def answers(client: Client, url: str, *, may: bool) -> Iterator[Any]:
    """What is told to whoever looks; who may not does not send anything either."""
    yield client.get(url)
    if not may and "?" not in url and not url.endswith("/history/"):
        yield client.post(url, {"post": "yes", "confirmed": "yes"})


def opened(response: Any) -> bool:
    """Whether it is a page, or leads to another one than the login."""
    if response.status_code == 302:
        return not response["Location"].startswith(reverse("admin:login"))
    assert response.status_code in (200, 403, 404, 405), response
    return bool(response.status_code == 200)
