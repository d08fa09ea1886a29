"""Many keys are issued from a table: looked at, then all at once, with one answer of secrets."""

import csv
import io
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pghistory
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants_app import key_csv, keys, staff
from tenants_app.models import ApiKey, Tenant
from tests.admin_site import logged_in, make_staff, text_of, url_of
from tests.factories import make_key, make_team, make_tenant
from tests.loops import run

pytestmark = pytest.mark.django_db

WHY = "The pilot's laptops"
LINES = ("name,team,expires", "laptop 1,research,2099-01-31", "laptop 2,,", "=2+5,,")


def address(tenant: Tenant) -> str:
    return reverse("admin:tenants_app_tenant_issue_keys", args=[tenant.pk])


def look(client: Client, tenant: Tenant, *lines: str, **sent: Any) -> Any:
    data = {"table": "\n".join(lines), "reason": WHY, **sent}
    return client.post(address(tenant), data)


def confirmed(page: Any) -> dict[str, str]:
    """What the button of the page that was looked at sends."""
    return {"batch": str(page.context["batch"]), "seen": page.context["plan"].fingerprint}


def problems(page: Any) -> list[str]:
    return [str(finding) for finding in page.context["plan"].problems]


def rows(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


@pytest.fixture
def acme() -> Tenant:
    acme = make_tenant()
    make_team(acme, "research")
    return acme


@pytest.mark.django_db(transaction=True)
def test_keys_are_issued_once_they_were_looked_at_and_told_in_one_file(acme: Tenant) -> None:
    client = logged_in(superuser=True)
    assert address(acme) in text_of(client.get(url_of(Tenant, "change", acme.pk)))
    upload = SimpleUploadedFile("keys.csv", "\n".join(LINES).encode())
    page = client.post(address(acme), {"file": upload, "reason": WHY})
    assert "3 keys would be issued" in text_of(page)
    assert not ApiKey.objects.exists()

    answer = look(client, acme, *LINES, **confirmed(page))
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="keys-acme.csv"'
    assert "no-store" in answer["Cache-Control"]
    told = rows(answer)
    # Nothing in the file runs as a formula.
    assert [(row["name"], row["team"]) for row in told] == [
        ("laptop 1", "research"), ("laptop 2", ""), ("'=2+5", ""),
    ]  # fmt: skip
    for row in told:
        caller = run(keys.authenticate({"HTTP_X_API_KEY": row["secret"]}))
        assert caller.key is not None
        assert caller.key.scopes == {"chat", "usage:read"}
    first = ApiKey.objects.get(name="laptop 1")
    assert (first.team and first.team.slug, first.expires_at) == (
        "research",
        datetime(2099, 1, 31, tzinfo=UTC),
    )
    assert ApiKey.objects.get(name="=2+5").expires_at is None


def test_each_key_is_on_record_with_why_and_no_secret_is_kept(acme: Tenant) -> None:
    client = logged_in(superuser=True)
    page = look(client, acme, *LINES)
    secrets = [row["secret"] for row in rows(look(client, acme, *LINES, **confirmed(page)))]
    event: Any = pghistory.core.event_models(tracks_model=ApiKey)[0]
    events = event.objects.all()
    assert [event.pgh_context.metadata["reason"] for event in events] == [WHY] * 3
    assert LogEntry.objects.filter(content_type__model="apikey", action_flag=1).count() == 3
    kept = [*LogEntry.objects.values_list(), *events.values_list()]
    kept += [one.get_decoded() for one in Session.objects.all()]
    pages = [url_of(ApiKey, "changelist"), url_of(Tenant, "change", acme.pk), address(acme)]
    text = str(kept) + "".join(text_of(client.get(url)) for url in pages)
    assert [secret for secret in secrets if secret in text] == []


def test_repeating_the_request_issues_nothing_and_says_what_to_do(acme: Tenant) -> None:
    client = logged_in(superuser=True)
    sent = confirmed(look(client, acme, *LINES))
    assert len(rows(look(client, acme, *LINES, **sent))) == 3
    again = look(client, acme, *LINES, **sent)
    assert "issued already" in text_of(again)
    assert "tg_" not in text_of(again)
    assert ApiKey.objects.count() == 3
    # The link leads to these keys, which are revoked together; and even then none comes anew.
    make_key(acme, "another")
    found = client.get(again.context["keys_url"])
    chosen = [key.pk for key in found.context["cl"].result_list]
    assert len(chosen) == 3
    bulk = {"action": "revoke_selected", "_selected_action": chosen}
    question = text_of(client.post(again.context["keys_url"], bulk))
    assert all(name in question for name in ("laptop 1", "laptop 2"))
    client.post(again.context["keys_url"], bulk | {"confirmed": "yes", "reason": "File lost"})
    assert [key.name for key in ApiKey.objects.filter(revoked_at=None)] == ["another"]
    assert "issued already" in text_of(look(client, acme, *LINES, **sent))
    assert ApiKey.objects.count() == 4
    one = url_of(ApiKey, "change", chosen[0])
    assert "with the keys of one file" in text_of(client.get(one))


def test_everything_wrong_is_told_by_its_line(acme: Tenant) -> None:
    client = logged_in(superuser=True)
    make_key(acme, "taken")
    make_team(make_tenant("globex"), "theirs")
    page = look(
        client, acme, "name,team,expires",
        "taken,,",
        ",,",
        "a,theirs,",
        "a,,2001-01-01",
        "b,,tomorrow",
        "c,,2099-01-31T18:00:00",
        f"{'x' * 101},,",
    )  # fmt: skip
    moment = "must be a day or an instant with its offset, like 2027-01-31 or 2027-01-31T18:00:00Z"
    length = "must be a string of 1 to 100 characters"
    assert problems(page) == [
        "line 2, name: the tenant has a live key of this name already",
        f"line 3, name: {length}",
        "line 4, team: the tenant has no such team",
        "line 5, name: is the name of the key on line 4, too",
        "line 5, expires: is in the past",
        f"line 6, expires: {moment}",
        f"line 7, expires: {moment}",
        f"line 8, name: {length}",
    ]
    assert "batch" not in page.context
    assert ApiKey.objects.count() == 1


def test_file_has_its_maximum(acme: Tenant) -> None:
    client = logged_in(superuser=True)
    lines = [f"k{n}" for n in range(key_csv.KEYS_MAX)]
    assert problems(look(client, acme, "name", *lines, "one too many")) == [
        "The file asks for 501 keys, at most 500: split it."
    ]
    page = look(client, acme, "name", *lines)
    answer = look(client, acme, "name", *lines, **confirmed(page))
    assert len({row["secret"] for row in rows(answer)}) == key_csv.KEYS_MAX


def test_what_was_not_looked_at_is_not_issued(acme: Tenant) -> None:
    client = logged_in(superuser=True)
    sent = confirmed(look(client, acme, "name", "a"))
    page = look(client, acme, "name", "a", "b", **sent)
    assert page.context["form"].non_field_errors() == [
        "The keys are others by now: look at them again."
    ]
    for wrong in ({**sent, "batch": ""}, {**sent, "batch": "x"}, {"batch": str(uuid4())}):
        assert look(client, acme, "name", "a", **wrong).status_code == 200
    assert look(client, acme, "name", "a", reason="", **sent).context["form"].errors == {
        "reason": ["This field is required."]
    }
    # Its name was taken meanwhile.
    make_key(acme, "a")
    assert len(problems(look(client, acme, "name", "a", **sent))) == 1
    assert ApiKey.objects.count() == 1


def test_only_who_may_issue_keys_of_the_tenant_does(acme: Tenant) -> None:
    viewer = logged_in("tenants_app.view_tenant", "tenants_app.view_apikey")
    assert viewer.get(address(acme)).status_code == 403
    assert look(viewer, acme, "name", "a").status_code == 403
    assert address(acme) not in text_of(viewer.get(url_of(Tenant, "change", acme.pk)))
    rights = [f"tenants_app.{right}" for right in ("view_tenant", "view_apikey", "add_apikey")]
    user, globex = make_staff(*rights), make_tenant("globex")
    staff.hold_to(user, [acme])
    held = Client()
    held.force_login(user)
    assert "3 keys" in text_of(look(held, acme, *LINES))
    assert look(held, globex, "name", "a").status_code == 302
    assert not ApiKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_requests_at_once_one_issues() -> None:
    acme = make_tenant()
    client = logged_in(superuser=True)
    sent = confirmed(look(client, acme, "name", "a", "b"))
    answers: list[Any] = []

    def press() -> None:
        try:
            answers.append(look(client, acme, "name", "a", "b", **sent))
        finally:
            connection.close()

    both = [threading.Thread(target=press) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(30)
    kinds = sorted(answer["Content-Type"].partition(";")[0] for answer in answers)
    assert kinds == ["text/csv", "text/html"]
    assert ApiKey.objects.count() == 2


def test_end_of_a_key_is_read_as_it_is_written() -> None:
    now = timezone.now()
    assert key_csv._instant("", now) is None
    assert key_csv._instant("2099-06-01T12:00:00+02:00", now) == datetime(
        2099, 6, 1, 10, tzinfo=UTC
    )
    soon = now + timedelta(minutes=1)
    assert key_csv._instant(soon.isoformat(), now) == soon
