"""No secret on any page, in any address, log line or history: a world of known ones, crawled."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants_app import keys
from tenants_app.models import AlertTargets, Change, Tenant, Upstream
from tests.admin_site import SIGNING_SECRET, TOKEN, form_of, make_world, text_of, url_of
from tests.gateway_project.test_admin import pages
from usage_app.reports import staff_tokens

pytestmark = pytest.mark.django_db

PASSWORD, WRONG, TYPED_AS_NAME = "right-password-8J4k", "wrong-password-2Rf9", "as-a-name-5Tq1"
NEW_TOKEN = "sk-new-provider-token-7Hd3"
NEW_SIGNING = "whsec_" + base64.b64encode(b"a-new-signing-secret-9Kx2").decode()


def test_no_page_address_log_or_history_has_a_secret(capfd: Any) -> None:
    staff = User.objects.create_superuser("root", password=PASSWORD)
    acme = make_world()
    former = keys.issue(acme, name="crawled")
    key = keys.rotate(former.key, until=timezone.now() + timedelta(days=1))
    token = staff_tokens.issue(staff, name="crawled")
    client = Client()
    for name, password in (("root", WRONG), (TYPED_AS_NAME, "x"), ("root", PASSWORD)):
        client.post(reverse("admin:login"), {"username": name, "password": password})
    addresses = [give_token(client), give_signing_secret(client, acme)]
    secrets = {
        *(PASSWORD, WRONG, TYPED_AS_NAME, TOKEN, NEW_TOKEN, staff.password),
        *(one.removeprefix("whsec_") for one in (SIGNING_SECRET, NEW_SIGNING)),
        *(former.secret, former.key.digest.hex(), key.secret, key.key.digest.hex()),
        *(token.secret, bytes(token.token.digest).hex()),
        *(str(client.cookies["sessionid"].value), str(client.cookies["known_browser"].value)),
        *(str(value) for value in Upstream.objects.values_list("sealed_token", flat=True) if value),
        *map(str, AlertTargets.objects.values_list("sealed_secret", flat=True)),
    }
    seen = 0
    for url in [*pages(client), reverse("usage_report")]:
        response = client.get(url, follow=True)
        addresses += [url, *(to for to, _ in response.redirect_chain)]
        assert found(secrets, text_of(response)) == [], url
        assert found(secrets, str(response.headers)) == [], url
        seen += 1
    assert seen > 80
    kept = [list(LogEntry.objects.values_list()), list(Change.objects.values_list())]
    logged = capfd.readouterr()
    assert "login_refused" in logged.err
    for where in (addresses, kept, logged):
        assert found(secrets, str(where)) == []


def give_token(client: Client) -> str:
    """A provider's token, typed into its form; where the answer leads to."""
    upstream = Upstream.objects.get(name="acme-upstream")
    url = url_of(Upstream, "change", upstream.pk)
    answer = client.post(url, form_of(client.get(url)) | {"token": NEW_TOKEN})
    assert answer.status_code == 302
    upstream.refresh_from_db()
    assert upstream.open_token() == NEW_TOKEN
    return str(answer["Location"])


def give_signing_secret(client: Client, tenant: Tenant) -> str:
    """What signs a tenant's alerts, typed into its form; where the answer leads to."""
    url = url_of(Tenant, "change", tenant.pk)
    typed = {"alert_targets-0-secret": NEW_SIGNING}
    answer = client.post(url, form_of(client.get(url)) | typed)
    assert answer.status_code == 302
    assert AlertTargets.objects.get(tenant=tenant).open_secret() == NEW_SIGNING
    return str(answer["Location"])


def found(secrets: set[str], text: str) -> list[str]:
    return [secret for secret in secrets if secret in text]
