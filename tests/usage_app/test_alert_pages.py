"""The pages of alerts: what is shown, what is not, and who may send again."""

import pytest
from django.test import Client
from django.urls import reverse

from tenants_app.models import AlertTargets, Budget, Tenant
from tests.admin_site import SIGNING_SECRET, form_of, logged_in, make_world, text_of
from tests.usage_app.alerting import make_watched
from usage_app.alerts import watch
from usage_app.models import Alert, AlertDelivery

pytestmark = pytest.mark.django_db

TARGETS = "alert_targets-0-"


@pytest.fixture
def client() -> Client:
    return logged_in(superuser=True)


def save(client: Client, tenant: Tenant, **values: str) -> str:
    """Save the tenant's page with these in its part about alerts; the answer's text."""
    url = reverse("admin:tenants_app_tenant_change", args=[tenant.pk])
    data = form_of(client.get(url)) | {TARGETS + name: text for name, text in values.items()}
    return text_of(client.post(url, data, follow=True))


def test_addresses_are_set_on_the_tenants_page_and_the_secret_never_comes_out(
    client: Client,
) -> None:
    budget, _window = make_watched()
    emails = "ops@acme.example, cfo@acme.example,ops@acme.example"
    url = "https://hooks.acme.example/tollgate"
    assert "set a secret with its URL" in save(
        client, budget.tenant, emails=emails, webhook_url=url
    )
    assert not AlertTargets.objects.exists()
    page = save(client, budget.tenant, emails=emails, webhook_url=url, secret=SIGNING_SECRET)
    targets = AlertTargets.objects.get()
    assert targets.emails == ["ops@acme.example", "cfo@acme.example"]
    assert targets.open_secret() == SIGNING_SECRET
    page += text_of(client.get(reverse("admin:tenants_app_tenant_change", args=[budget.tenant_id])))
    page += text_of(
        client.get(reverse("admin:tenants_app_tenant_history", args=[budget.tenant_id]))
    )
    assert "Set since" in page
    assert "cfo@acme.example" in page
    assert SIGNING_SECRET not in page
    save(client, budget.tenant, emails="ops@acme.example")
    assert AlertTargets.objects.get().open_secret() == SIGNING_SECRET
    save(client, budget.tenant, webhook_url="", remove_secret="on")
    assert AlertTargets.objects.get().sealed_secret is None


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"emails": "nobody"}, "Not an address: “nobody”."),
        ({"secret": "whsec_short"}, "24 to 64 random bytes"),
        ({"webhook_url": "http://169.254.169.254/x", "secret": SIGNING_SECRET}, "is not public"),
    ],
)
def test_what_makes_no_sense_is_told(client: Client, values: dict[str, str], why: str) -> None:
    budget, _window = make_watched()
    assert why in save(client, budget.tenant, **values)
    assert not AlertTargets.objects.exists()


def test_percentages_are_kept_in_order_each_once(client: Client) -> None:
    budget, _window = make_watched()
    url = reverse("admin:tenants_app_budget_change", args=[budget.pk])
    client.post(url, form_of(client.get(url)) | {"alert_percents": "90, 50,90"})
    assert Budget.objects.get().alert_percents == [50, 90]
    answer = client.post(url, form_of(client.get(url)) | {"alert_percents": "101"})
    assert "from 1 to 100" in text_of(answer)
    client.post(url, form_of(client.get(url)) | {"alert_percents": ""})
    assert Budget.objects.get().alert_percents == []


def test_list_shows_what_was_told_and_with_which(client: Client) -> None:
    make_watched(tokens=960, emails=["ops@acme.example"])
    watch.note_crossed()
    page = text_of(client.get(reverse("admin:usage_app_alert_changelist")))
    for part in ("960 tokens (96.0 %)", "1,000 tokens per day", "with 95 %", "1 pending"):
        assert part in page


def test_list_without_rows_says_whether_it_was_searched(client: Client) -> None:
    url = reverse("admin:usage_app_alert_changelist")
    assert "No alerts" in text_of(client.get(url))
    searched = text_of(client.get(url, {"deliveries__state__exact": "failed"}))
    assert "Nothing found" in searched
    assert "Show all alerts" in searched


def test_failed_alert_is_sent_again_by_who_may() -> None:
    make_watched(tokens=800, emails=["ops@acme.example"])
    watch.note_crossed()
    AlertDelivery.objects.update(state="failed", last_error="it answered 500")
    alert = Alert.objects.get()
    url = reverse("admin:usage_app_alert_send_again", args=[alert.pk])
    view = "usage_app.view_alert", "usage_app.view_alertdelivery"
    assert logged_in(*view).post(url, {"confirmed": "yes"}).status_code == 403
    client = logged_in(*view, "usage_app.send_alert_again")
    assert "is not sent twice" in text_of(client.get(url))
    assert "1 on their way." in text_of(client.post(url, {"confirmed": "yes"}, follow=True))
    assert AlertDelivery.objects.get().state == "pending"


def test_world_has_alerts(client: Client) -> None:
    make_world()
    alert = Alert.objects.get()
    page = text_of(client.get(reverse("admin:usage_app_alert_change", args=[alert.pk])))
    assert "ops@acme.example" in page
    assert SIGNING_SECRET not in page
