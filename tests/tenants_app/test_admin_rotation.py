"""The pages by which a key is rotated, its overlap ended, and it is revoked."""

from datetime import datetime, timedelta
from typing import Any

import pghistory
import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants_app import keys
from tenants_app.models import ApiKey, Tenant
from tests.admin_site import logged_in, text_of, url_of
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def action(key: ApiKey, name: str) -> str:
    return reverse(f"admin:tenants_app_apikey_{name}", args=[key.pk])


def rotate(client: Client, key: ApiKey, overlap: str = "day", **sent: Any) -> Any:
    key.refresh_from_db()
    data = {"confirmed": key.prefix, "overlap": overlap, **sent}
    return client.post(action(key, "rotate"), data)


def why() -> str:
    """What the audit trail tells of the newest change of a key."""
    event: Any = pghistory.core.event_models(tracks_model=ApiKey)[0]
    return str(event.objects.latest("pgh_id").pgh_context.metadata["reason"])


def test_rotating_asks_how_long_and_shows_the_new_secret_once() -> None:
    client = logged_in(superuser=True)
    old = keys.issue(make_tenant(), name="app")
    page = client.get(action(old.key, "rotate"))
    assert "Rotate the key" in text_of(page)
    assert page.context["form"]["overlap"].initial == "day"
    assert bytes(ApiKey.objects.get().digest) == keys.digest(old.secret)

    sent = {"confirmed": old.key.prefix, "overlap": "day", "reason": "A laptop was lost"}
    response = client.post(action(old.key, "rotate"), sent)
    secret, row = response.context["secret"], ApiKey.objects.get()
    assert bytes(row.digest) == keys.digest(secret)
    assert bytes(row.previous_digest or b"") == keys.digest(old.secret)
    assert row.previous_until is not None
    assert abs(row.previous_until - timezone.now() - DAY) < timedelta(minutes=1)
    told = f"The secret before it works until {row.previous_until:%Y-%m-%d %H:%M} UTC."
    assert told in text_of(response)
    assert "no-store" in response["Cache-Control"]
    assert LogEntry.objects.latest("pk").change_message == f"Rotated. {told}"
    assert why() == "A laptop was lost"
    # The same request again (a reloaded page) is asked anew.
    assert "secret" not in client.post(action(old.key, "rotate"), sent).context
    assert bytes(ApiKey.objects.get().digest) == keys.digest(secret)


@pytest.mark.parametrize(
    ("overlap", "length"),
    [("none", None), ("hour", timedelta(hours=1)), ("week", timedelta(days=7))],
)
def test_overlap_is_as_long_as_was_chosen(overlap: str, length: timedelta | None) -> None:
    key = keys.issue(make_tenant(), name="app").key
    page = text_of(rotate(logged_in(superuser=True), key, overlap))
    key.refresh_from_db()
    if length is None:
        assert (key.previous_digest, key.previous_until) == (None, None)
        assert "The secret before it does not work any more." in page
    else:
        assert key.previous_until is not None
        assert abs(key.previous_until - timezone.now() - length) < timedelta(minutes=1)


def typed(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M}"


def test_overlap_may_end_at_a_date() -> None:
    key, client = keys.issue(make_tenant(), name="app").key, logged_in(superuser=True)
    now = timezone.now()
    for data, errors in (
        ({"overlap": "date"}, {"until": ["Say until when."]}),
        ({"overlap": "date", "until": typed(now - DAY)}, {"until": ["This is in the past."]}),
        (
            {"overlap": "date", "until": typed(now + 91 * DAY)},
            {"until": ["At most 90 days from now."]},
        ),
        (
            {"overlap": "day", "until": typed(now + DAY)},
            {"overlap": ['Choose "Until a date", or leave the date empty.']},
        ),
        ({"overlap": ""}, {"overlap": ["This field is required."]}),
    ):
        assert rotate(client, key, **data).context["form"].errors == errors
    until = (now + 3 * DAY).replace(second=0, microsecond=0)
    assert "secret" in rotate(client, key, "date", until=typed(until)).context
    key.refresh_from_db()
    assert key.previous_until == until


def test_pages_tell_until_when_and_the_overlap_is_ended_after_a_question() -> None:
    client, acme = logged_in(superuser=True), make_tenant()
    key = keys.issue(acme, name="app").key
    page = url_of(ApiKey, "change", key.pk)
    assert "End the overlap" not in text_of(client.get(page))
    rotate(client, key)
    key.refresh_from_db()
    until = f"works until {key.previous_until:%Y-%m-%d %H:%M} UTC"
    assert until in text_of(client.get(page))
    assert "End the overlap" in text_of(client.get(page))
    short = f"old one until<br>{key.previous_until:%Y-%m-%d %H:%M}"
    assert short in text_of(client.get(url_of(Tenant, "change", acme.pk)))
    # What a second rotation, and revoking, would end is told.
    assert "Rotating again ends that at once" in text_of(client.get(action(key, "rotate")))
    assert "left two secrets working, both of them stop" in text_of(
        client.get(action(key, "revoke"))
    )

    ending = action(key, "end_overlap")
    assert until in text_of(client.get(ending))
    key.refresh_from_db()
    assert key.overlaps_until is not None
    client.post(ending, {"confirmed": "yes", "reason": "All clients have the new one"})
    key.refresh_from_db()
    assert (key.previous_digest, key.previous_until) == (None, None)
    assert why() == "All clients have the new one"
    again = client.post(ending, {"confirmed": "yes"}, follow=True)
    assert "does not work any more" in text_of(again)
    assert "works until" not in text_of(client.get(page))


def test_why_a_key_is_revoked_is_kept() -> None:
    key = keys.issue(make_tenant(), name="app").key
    sent = {"confirmed": "yes", "reason": "The contract ended"}
    logged_in(superuser=True).post(action(key, "revoke"), sent)
    assert why() == "The contract ended"


def test_only_who_may_change_keys_ends_an_overlap() -> None:
    client = logged_in("tenants_app.view_tenant", "tenants_app.view_apikey")
    key = keys.rotate(keys.issue(make_tenant(), name="app").key, until=timezone.now() + DAY).key
    assert client.post(action(key, "end_overlap"), {"confirmed": "yes"}).status_code == 403
    assert "End the overlap" not in text_of(client.get(url_of(ApiKey, "change", key.pk)))
    key.refresh_from_db()
    assert key.overlaps_until is not None
