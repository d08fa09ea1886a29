"""How long a login lasts, and what ends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway_project.login import sessions
from gateway_project.tasks import forget_sessions
from tenants_app.models import Tenant
from tests.admin_site import url_of
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db

PASSWORD = "the right password"
HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(sessions, "now", made)
    return made  # type: ignore[return-value]


@pytest.fixture
def alice() -> User:
    return User.objects.create_superuser("alice", password=PASSWORD)


def log_in(client: Client) -> Any:
    sent = {"username": "alice", "password": PASSWORD}
    return client.post(reverse("admin:login"), sent)


def is_in(client: Client) -> bool:
    return client.get(reverse("admin:index")).status_code == 200


def test_login_ends_without_requests(alice: User, clock: Clock, client: Client) -> None:
    log_in(client)
    for _ in range(3):
        clock.at += settings.SESSION_IDLE_SECONDS - 60
        assert is_in(client)
    clock.at += settings.SESSION_IDLE_SECONDS
    assert not is_in(client)
    assert not Session.objects.exists()


def test_page_that_is_left_open_prolongs_no_login(
    alice: User, clock: Clock, client: Client
) -> None:
    acme = make_tenant()
    log_in(client)
    assert client.get(url_of(Tenant, "change", acme.pk)).status_code == 200
    asks, every = settings.SESSION_IDLE_SECONDS // 60, 60
    for _ in range(asks - 1):
        clock.at += every
        assert client.get(url_of(Tenant, "live", acme.pk)).status_code == 200
    assert Session.objects.exists()
    clock.at += every
    answer = client.get(url_of(Tenant, "live", acme.pk))
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, reverse("admin:login"))
    assert not Session.objects.exists()


def test_what_a_page_asks_by_itself_counts_for_nothing_whatever_comes_of_it(
    alice: User, clock: Clock, client: Client
) -> None:
    log_in(client)
    User.objects.update(is_superuser=False)
    url = url_of(Tenant, "live", make_tenant().pk)
    for _ in range(3):
        clock.at += settings.SESSION_IDLE_SECONDS / 3
        client.get(url)
    assert not Session.objects.exists()


def test_login_ends_after_a_days_work_whatever_is_done(
    alice: User, clock: Clock, client: Client
) -> None:
    log_in(client)
    for _ in range(11):
        clock.at += HOUR
        assert is_in(client)
    clock.at += HOUR
    assert not is_in(client)


def test_logging_in_again_begins_anew(alice: User, clock: Clock, client: Client) -> None:
    log_in(client)
    for _ in range(11):
        clock.at += HOUR
        assert is_in(client)
    log_in(client)
    clock.at += HOUR
    assert is_in(client)


def test_session_is_not_written_at_every_request(
    alice: User, clock: Clock, client: Client, django_assert_num_queries: Any
) -> None:
    log_in(client)
    is_in(client)
    clock.at += 1
    before = Session.objects.get().session_data
    is_in(client)
    assert Session.objects.get().session_data == before


def test_login_makes_a_new_session(alice: User, client: Client) -> None:
    planted = client.session
    planted["planted"] = True
    planted.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(planted.session_key)
    log_in(client)
    assert client.cookies[settings.SESSION_COOKIE_NAME].value != planted.session_key
    assert not Session.objects.filter(session_key=planted.session_key).exists()


def test_changed_password_and_closed_account_log_out_everywhere(alice: User) -> None:
    here, there = Client(), Client()
    log_in(here)
    log_in(there)
    sent = {
        "old_password": PASSWORD,
        "new_password1": "n3w-one-here",
        "new_password2": "n3w-one-here",
    }
    assert here.post(reverse("admin:password_change"), sent).status_code == 302
    assert (is_in(here), is_in(there)) == (True, False)
    User.objects.update(is_active=False)
    assert not is_in(here)


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(alice: User, client: Client) -> None:
    log_in(client)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert (cookie["httponly"], cookie["samesite"], cookie["domain"]) == (True, "Lax", "")
    token = client.cookies[settings.CSRF_COOKIE_NAME]
    assert (token["httponly"], token["samesite"]) == (True, "Lax")
    known = client.cookies["known_browser"]
    assert (known["httponly"], known["samesite"], known["path"]) == (True, "Lax", "/admin/login/")


def test_ended_sessions_are_deleted_and_living_ones_kept() -> None:
    for key, hours in (("ended", -1), ("living", 1)):
        until = timezone.now() + timedelta(hours=hours)
        Session.objects.create(session_key=key, session_data="", expire_date=until)
    forget_sessions()
    assert [session.session_key for session in Session.objects.all()] == ["living"]
