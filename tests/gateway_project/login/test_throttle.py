"""Tries to log in: as many as there are, however many come at once, and never a lock for ever."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test import Client
from django.urls import reverse
from structlog.testing import capture_logs

from gateway_project.login import throttle
from gateway_project.login.models import LoginThrottle
from gateway_project.login.throttle import COOKIE, LIMITS, Bucket
from tests.admin_site import logged_in, text_of, url_of

pytestmark = pytest.mark.django_db

ALICE = Bucket("account", "alice")
PASSWORD = "the right password"
TRIES = LIMITS["account"].tries


@pytest.fixture
def alice() -> User:
    return User.objects.create_superuser("alice", password=PASSWORD)


def login(
    password: str = "wrong", *, name: str = "alice", client: Client | None = None, **extra: Any
) -> Any:
    sent = {"username": name, "password": password}
    return (client or Client()).post(reverse("admin:login"), sent, **extra)


def attack(times: int = TRIES, *, name: str = "alice") -> None:
    """From everywhere at once."""
    for at in range(times):
        login(name=name, REMOTE_ADDR=f"203.0.113.{at}")


def earlier(seconds: float) -> None:
    """That much time has passed for all throttles."""
    LoginThrottle.objects.update(full_again_at=F("full_again_at") - timedelta(seconds=seconds))


def held_back(answer: Any) -> bool:
    return "Too many tries" in text_of(answer)


@pytest.mark.django_db(transaction=True)
def test_as_many_pass_as_there_are_tries_however_many_come_at_once() -> None:
    def one(_: int) -> int:
        try:
            return throttle.take([ALICE, Bucket("address", "203.0.113.9")])
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(one, range(40)))
    assert waits.count(0) == TRIES
    assert all(50 < wait <= 60 for wait in waits if wait)


def test_refused_try_takes_nothing() -> None:
    address = Bucket("address", "203.0.113.9")
    for _ in range(TRIES):
        throttle.take([ALICE])
    before = LoginThrottle.objects.get(subject="alice").full_again_at
    assert throttle.take([ALICE, address]) > 0
    assert LoginThrottle.objects.get(subject="alice").full_again_at == before
    assert not LoginThrottle.objects.filter(kind="address").exists()


def test_account_is_held_back_for_a_told_time_and_never_longer(alice: User) -> None:
    attack()
    answer = login(PASSWORD)
    assert "Too many tries. The next one is possible in " in text_of(answer)
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 60
    for _ in range(5):
        assert held_back(login(PASSWORD))
    earlier(60)
    assert login(PASSWORD).status_code == 302


def test_owner_comes_in_while_the_account_is_attacked(alice: User) -> None:
    browser = Client()
    assert login(PASSWORD, client=browser).status_code == 302
    browser.post(reverse("admin:logout"))
    attack(TRIES + 3)
    assert held_back(login(PASSWORD))
    assert login(PASSWORD, client=browser).status_code == 302


def test_known_browser_has_tries_of_its_own_and_no_more(alice: User) -> None:
    browser = Client()
    login(PASSWORD, client=browser)
    browser.post(reverse("admin:logout"))
    for _ in range(TRIES):
        assert not held_back(login(client=browser))
    assert held_back(login(PASSWORD, client=browser))
    assert login(PASSWORD).status_code == 302


def test_cookie_of_another_account_or_nobodys_makes_no_browser_known(alice: User) -> None:
    mallory = User.objects.create_superuser("mallory", password="x")
    attack()
    for cookie in (throttle.browser_cookie(mallory), "forged", "W10:1:x"):
        browser = Client()
        browser.cookies[COOKIE] = cookie
        assert held_back(login(PASSWORD, client=browser))


def test_right_passwords_cost_nothing(alice: User) -> None:
    for _ in range(TRIES + 5):
        assert login(PASSWORD).status_code == 302
    attack(TRIES - 1)
    assert login(PASSWORD).status_code == 302


@pytest.mark.parametrize("network", ["198.51.100.7", "2001:db8:1:2:{:x}::1"])
def test_address_is_held_back_whatever_names_it_tries(alice: User, network: str) -> None:
    for at in range(1, LIMITS["address"].tries + 1):
        assert not held_back(login(name=f"user-{at}", REMOTE_ADDR=network.format(at)))
    assert held_back(login(PASSWORD, REMOTE_ADDR=network.format(99)))
    assert login(PASSWORD, REMOTE_ADDR="192.0.2.1").status_code == 302


def test_forwarded_address_is_believed_by_the_server_only(alice: User) -> None:
    for at in range(LIMITS["address"].tries):
        login(name=f"user-{at}", HTTP_X_FORWARDED_FOR=f"203.0.113.{at}")
    assert held_back(login(PASSWORD, HTTP_X_FORWARDED_FOR="203.0.113.200"))


def test_a_password_typed_as_the_name_is_neither_kept_nor_logged(alice: User) -> None:
    with capture_logs() as logs:
        login(name=PASSWORD, password="alice")
    assert PASSWORD not in str(logs)
    assert PASSWORD not in str(list(LoginThrottle.objects.values_list()))
    assert logs[-1]["event"] == "login_refused"


def test_names_without_an_account_are_held_back_alike(alice: User) -> None:
    pages = []
    for name in ("alice", "nobody"):
        attack(name=name)
        pages.append(held_back(login(name=name)))
    assert pages == [True, True]


def test_what_holds_nobody_back_is_forgotten(alice: User) -> None:
    attack(3, name="someone")
    earlier(3600)
    login()
    assert set(LoginThrottle.objects.values_list("subject", flat=True)) == {"alice", "127.0.0.1"}


def test_every_ending_is_logged(alice: User) -> None:
    with capture_logs() as logs:
        login(PASSWORD)
        attack()
        login()
    told = [line["event"] for line in logs]
    assert told[0] == "staff_logged_in"
    assert told[1:-1] == ["login_refused"] * TRIES
    assert logs[-1]["event"] == "login_throttled"
    assert (logs[-1]["by_account"], logs[-1]["by_address"]) == ("alice", "127.0.0.1")


def test_operator_lets_somebody_try_again(alice: User) -> None:
    attack()
    client = logged_in("gateway_project.view_loginthrottle", "gateway_project.delete_loginthrottle")
    row = LoginThrottle.objects.get(subject="alice")
    page = text_of(client.get(url_of(LoginThrottle, "changelist")))
    assert "seconds" in page
    assert client.post(url_of(LoginThrottle, "delete", row.pk), {"post": "yes"}).status_code == 302
    assert login(PASSWORD).status_code == 302


def test_command_lets_somebody_try_again(alice: User) -> None:
    attack()
    out = io.StringIO()
    call_command("unthrottle", "alice", stdout=out)
    assert out.getvalue() == "1 forgotten.\n"
    assert login(PASSWORD).status_code == 302
    call_command("unthrottle", "--all", stdout=out)
    assert not LoginThrottle.objects.exists()
    with pytest.raises(CommandError):
        call_command("unthrottle")
