"""The contract of a rotation with an overlap: two secrets, one key, and an end to the instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tenants_app import keys
from tenants_app.keys import IssuedKey
from tenants_app.models import ApiKey
from tests.chat_app.contract import entry_of, house
from tests.factories import make_budget
from tests.live import Server
from tests.loopback import Loopback

pytestmark = pytest.mark.xdist_group("live")

HOUR = timedelta(hours=1)


def chat_status(live: Server, key: IssuedKey) -> int:
    return live.chat(key).status_code


def usage_status(live: Server, key: IssuedKey) -> int:
    return live.get("/usage", key).status_code


def test_both_secrets_spend_one_budget_and_are_one_key_on_the_ledger(
    live: Server, loopback: Loopback
) -> None:
    acme = house(loopback)
    make_budget(acme.tenant, "requests", "day", 2, api_key=acme.key.key)
    old, new = acme.key, keys.rotate(acme.key.key, until=datetime.now(UTC) + HOUR)
    answers = [live.chat(key) for key in (old, new)]
    assert [entry_of(answer).api_key_id for answer in answers] == [new.key.pk] * 2
    for key in (old, new):
        refused = live.chat(key)
        assert refused.status_code == 429
        assert refused.json()["error"]["scope"] == "key"
        assert live.get("/usage", key).json()["data"]["totals"]["requests"] == 2


@pytest.mark.parametrize("status", [chat_status, usage_status])
def test_old_secret_works_until_its_time_and_not_once_after(
    live: Server, loopback: Loopback, status: Callable[[Server, IssuedKey], int]
) -> None:
    old = house(loopback).key
    assert status(live, old) == 200
    new = keys.rotate(old.key, until=datetime.now(UTC) + HOUR)
    assert (status(live, old), status(live, new)) == (200, 200)
    until = datetime.now(UTC) + timedelta(seconds=0.5)
    ApiKey.objects.filter(pk=new.key.pk).update(previous_until=until)
    while True:
        before = datetime.now(UTC)
        told = status(live, old)
        if datetime.now(UTC) < until:
            assert told == 200
        elif before >= until:
            assert told == 401
            break
    assert (status(live, old), status(live, new)) == (401, 200)


def test_overlap_that_is_ended_and_key_that_is_revoked_are_dead_at_the_next_request(
    live: Server, loopback: Loopback
) -> None:
    old = house(loopback).key
    new = keys.rotate(old.key, until=datetime.now(UTC) + HOUR)
    assert (chat_status(live, old), chat_status(live, new)) == (200, 200)
    keys.end_overlap(new.key)
    assert (chat_status(live, old), chat_status(live, new)) == (401, 200)
    heir = keys.rotate(new.key, until=datetime.now(UTC) + HOUR)
    assert (chat_status(live, new), chat_status(live, heir)) == (200, 200)
    keys.revoke(heir.key)
    assert (chat_status(live, new), chat_status(live, heir)) == (401, 401)
