"""A key is issued with a button and shown once; it is rotated and revoked after a question."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants_app import keys
from tenants_app.models import ApiKey, Budget, Tenant
from tests.admin_site import form_of, logged_in, text_of, url_of
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db


def issue(client: Client, tenant: Tenant, **values: Any) -> Any:
    """Press the tenant's button, fill in the form, and send it."""
    url = f"{url_of(ApiKey, 'add')}?tenant={tenant.pk}"
    return client.post(url, form_of(client.get(url)) | {"name": "app"} | values)


def action(key: ApiKey, name: str) -> str:
    return reverse(f"admin:tenants_app_apikey_{name}", args=[key.pk])


def test_button_on_the_tenants_page_leads_to_the_form() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    button = reverse("admin:tenants_app_tenant_issue_key", args=[acme.pk])
    assert button in text_of(client.get(url_of(Tenant, "change", acme.pk)))
    form = client.get(button, follow=True)
    assert form_of(form)["tenant"] == str(acme.pk)
    assert form_of(form)["scopes"] == ["chat", "usage:read"]


def test_key_is_shown_once_with_a_command_that_uses_it() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    response = issue(client, acme, expires_at_0="2099-01-01", expires_at_1="00:00:00")
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    secret = response.context["secret"]
    key = ApiKey.objects.get()
    assert bytes(key.digest) == keys.digest(secret)
    assert (key.name, key.tenant, key.scopes) == ("app", acme, ["chat", "usage:read"])
    assert key.expires_at is not None
    page = text_of(response)
    assert f"Authorization: Bearer {secret}" in response.context["curl"]
    assert secret in page
    assert "http://testserver/chat" in page
    for url in (url_of(ApiKey, "change", key.pk), url_of(ApiKey, "changelist")):
        assert secret not in text_of(client.get(url))


def test_secret_is_kept_nowhere() -> None:
    client = logged_in(superuser=True)
    secret = issue(client, make_tenant()).context["secret"]
    kept = [str(session.get_decoded()) for session in Session.objects.all()]
    kept += [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    assert kept
    assert [text for text in kept if secret in text] == []


def test_reloading_the_page_does_not_issue_a_second_key() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    issue(client, acme)
    again = issue(client, acme)
    assert again.context["adminform"].form.errors == {
        "name": ["The tenant has a live key of this name already."]
    }
    assert ApiKey.objects.count() == 1


def test_key_is_refused_an_expiry_in_the_past_and_no_scopes() -> None:
    client = logged_in(superuser=True)
    response = issue(
        client, make_tenant(), expires_at_0="2001-01-01", expires_at_1="00:00:00", scopes=[]
    )
    assert response.context["adminform"].form.errors == {
        "expires_at": ["This is in the past."],
        "scopes": ["This field is required."],
    }
    assert not ApiKey.objects.exists()


def test_issuing_needs_the_permission_to_add_keys() -> None:
    client = logged_in("tenants_app.view_tenant", "tenants_app.view_apikey")
    acme = make_tenant()
    button = reverse("admin:tenants_app_tenant_issue_key", args=[acme.pk])
    assert button not in text_of(client.get(url_of(Tenant, "change", acme.pk)))
    assert client.get(button).status_code == 403
    assert client.post(url_of(ApiKey, "add"), {"tenant": acme.pk}).status_code == 403
    key = keys.issue(acme, name="app").key
    assert client.post(action(key, "revoke"), {"confirmed": "yes"}).status_code == 403
    assert client.post(action(key, "rotate"), {"confirmed": key.prefix}).status_code == 403


def test_revoking_asks_first_and_is_final() -> None:
    client = logged_in(superuser=True)
    key = keys.issue(make_tenant(), name="app").key
    assert "cannot be undone" in text_of(client.get(action(key, "revoke")))
    assert ApiKey.objects.get().is_live()
    assert client.post(action(key, "revoke"), {"confirmed": "yes"}).status_code == 302
    key.refresh_from_db()
    assert not key.is_live()
    page = client.post(action(key, "rotate"), {"confirmed": key.prefix}, follow=True)
    assert "A revoked key is not rotated" in text_of(page)


def test_selected_keys_are_revoked_together_after_a_question() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    chosen = [keys.issue(acme, name=name).key.pk for name in ("a", "b")]
    spared = keys.issue(acme, name="c").key
    sent = {"action": "revoke_selected", "_selected_action": chosen}
    url = url_of(ApiKey, "changelist")
    assert "cannot be undone" in text_of(client.post(url, sent))
    assert ApiKey.objects.filter(revoked_at=None).count() == 3
    client.post(url, sent | {"confirmed": "yes"})
    assert list(ApiKey.objects.filter(revoked_at=None)) == [spared]


def test_key_is_never_deleted_and_stays_with_its_tenant() -> None:
    client = logged_in(superuser=True)
    acme, globex = make_tenant(), make_tenant("globex")
    key = keys.issue(acme, name="app").key
    assert client.post(url_of(ApiKey, "delete", key.pk), {"post": "yes"}).status_code == 403
    url = url_of(ApiKey, "change", key.pk)
    client.post(url, form_of(client.get(url)) | {"tenant": globex.pk, "name": "renamed"})
    key.refresh_from_db()
    assert (key.tenant, key.name) == (acme, "renamed")


def test_budget_of_a_key_is_its_tenants_too() -> None:
    client = logged_in(superuser=True)
    key = keys.issue(make_tenant(), name="app").key
    url = url_of(ApiKey, "change", key.pk)
    row = {
        "budgets-TOTAL_FORMS": "1",
        "budgets-0-metric": "tokens",
        "budgets-0-period": "day",
        "budgets-0-limit": "500",
    }
    assert client.post(url, form_of(client.get(url)) | row).status_code == 302
    budget = Budget.objects.get()
    assert (budget.tenant_id, budget.api_key) == (key.tenant_id, key)
    assert budget.limit == 500


@pytest.mark.parametrize(
    ("state", "names"), [("live", ["a"]), ("expired", ["b"]), ("revoked", ["c"])]
)
def test_keys_are_filtered_by_state(state: str, names: list[str]) -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    keys.issue(acme, name="a")
    keys.issue(acme, name="b", expires_at=timezone.now() - timedelta(days=1))
    keys.revoke(keys.issue(acme, name="c").key)
    rows = client.get(url_of(ApiKey, "changelist"), {"state": state}).context["cl"].result_list
    assert [key.name for key in rows] == names
