"""A rotated key has two secrets until the overlap ends; which of them it takes, and what not."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from tenants_app import configuration, keys
from tenants_app.errors import Unauthorized
from tenants_app.keys import IssuedKey
from tenants_app.models import ApiKey
from tenants_app.snapshots import Caller
from tests.factories import make_key, make_tenant
from tests.loops import run

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def caller_of(issued: IssuedKey) -> Caller:
    """Whom a request with this secret is answered as."""

    async def answered() -> Caller:
        meta = {"HTTP_X_API_KEY": issued.secret}
        return await keys.current(await keys.authenticate(meta), meta)

    return run(answered())


def end_of(issued: IssuedKey) -> datetime | None:
    """When this secret stops working."""
    caller = caller_of(issued)
    assert caller.key is not None
    assert caller.key.id == issued.key.pk
    return caller.key.expires_at


def refused(issued: IssuedKey) -> bool:
    """Also by the cache, the second time."""
    for _ in range(2):
        with pytest.raises(Unauthorized):
            caller_of(issued)
    return True


def test_old_secret_is_the_same_key_until_the_overlap_ends() -> None:
    until = timezone.now() + DAY
    old = make_key(make_tenant())
    new = keys.rotate(old.key, until=until)
    assert (end_of(old), end_of(new)) == (until, None)
    assert new.key.overlaps_until == until
    # The key's own end comes first, if it is earlier.
    soon = timezone.now() + timedelta(hours=1)
    ApiKey.objects.update(expires_at=soon)
    assert (end_of(old), end_of(new)) == (soon, soon)
    assert ApiKey.objects.get().overlaps_until == soon


def test_old_secret_ends_by_the_clock_also_where_it_is_cached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    until = timezone.now() + DAY
    old = make_key(make_tenant())
    new = keys.rotate(old.key, until=until)
    caller_of(old)
    caller_of(new)

    class Later:
        @staticmethod
        def now(_zone: Any) -> Any:
            return until

    monkeypatch.setattr(keys, "datetime", Later)
    assert keys.authenticate_cached({"HTTP_X_API_KEY": old.secret}) is None
    assert refused(old)
    assert end_of(new) is None


def test_old_secret_that_is_looked_up_again_keeps_its_end() -> None:
    """The configuration changes under a request that carries it, and the key's row has no end."""
    old = make_key(make_tenant())
    caller = caller_of(old)
    keys.rotate(old.key, until=timezone.now() + DAY)
    meta = {"HTTP_X_API_KEY": old.secret}
    newest = run(keys.current(caller, meta))
    assert newest is not caller
    ApiKey.objects.update(previous_until=timezone.now() - DAY)
    with pytest.raises(Unauthorized):
        run(keys.current(newest, meta))


def test_second_rotation_ends_the_first_ones_overlap() -> None:
    until = timezone.now() + DAY
    first = make_key(make_tenant())
    second = keys.rotate(first.key, until=until)
    third = keys.rotate(second.key, until=until)
    assert refused(first)
    assert (end_of(second), end_of(third)) == (until, None)
    fourth = keys.rotate(third.key)
    assert refused(second)
    assert refused(third)
    assert end_of(fourth) is None


def test_revoking_and_ending_the_overlap_count_from_the_next_request_on() -> None:
    acme = make_tenant()
    ended, revoked = make_key(acme, "a"), make_key(acme, "b")
    heir = keys.rotate(ended.key, until=timezone.now() + DAY)
    last = keys.rotate(revoked.key, until=timezone.now() + DAY)
    before = [caller_of(issued) for issued in (ended, revoked)]
    keys.end_overlap(heir.key)
    keys.revoke(last.key)
    assert heir.key.overlaps_until is None
    assert last.key.overlaps_until is None
    for caller, issued in zip(before, (ended, revoked), strict=True):
        with pytest.raises(Unauthorized):
            run(keys.current(caller, {"HTTP_X_API_KEY": issued.secret}))
    assert refused(ended)
    assert refused(revoked)
    assert refused(last)
    assert end_of(heir) is None


def test_rotation_that_makes_no_sense_is_refused() -> None:
    old = make_key(make_tenant())
    with pytest.raises(ValueError, match="past"):
        keys.rotate(old.key, until=timezone.now())
    keys.rotate(old.key)
    # Two who press the button at once: the second one's key is not what it was.
    with pytest.raises(ValueError, match="rotated meanwhile"):
        keys.rotate(old.key, until=timezone.now() + DAY)


def test_database_keeps_each_secret_to_one_key() -> None:
    acme, until = make_tenant(), timezone.now() + DAY
    old, other = make_key(acme, "a"), make_key(acme, "b")
    new = keys.rotate(old.key, until=until)
    former, row = keys.digest(old.secret), ApiKey.objects.filter(pk=new.key.pk)
    spare = ApiKey.objects.filter(pk=other.key.pk)
    writes: list[tuple[str, Callable[[], object]]] = [
        ("key_secret_is_nobodys_former_one", lambda: make_key(acme, "c", secret=old.secret)),
        ("key_secret_is_nobodys_former_one", lambda: spare.update(digest=former)),
        ("key_secret_is_nobodys_former_one", lambda: row.update(digest=former)),
        (
            "key_overlaps_with_its_own_secret",
            lambda: spare.update(previous_digest=former, previous_until=until),
        ),
        (
            "key_overlaps_with_its_own_secret",
            lambda: row.update(previous_digest=keys.digest(new.secret)),
        ),
        (
            "key_overlaps_with_its_own_secret",
            lambda: ApiKey.objects.create(
                tenant=acme, digest=b"d" * 32, previous_digest=b"e" * 32, previous_until=until
            ),
        ),
        ("key_overlap_has_a_secret_and_an_end", lambda: row.update(previous_until=None)),
        ("key_overlap_has_a_secret_and_an_end", lambda: row.update(previous_digest=None)),
    ]
    for name, write in writes:
        with pytest.raises(IntegrityError) as refusal, transaction.atomic():
            write()
        assert refusal.value.__cause__.diag.constraint_name == name  # type: ignore[union-attr]
    # Both given up, the secret is nobody's any more.
    keys.end_overlap(new.key)
    make_key(acme, "c", secret=old.secret)


def test_secret_is_not_taken_while_it_is_rotated_out() -> None:
    """Who inserts the same digest waits for the rotation, and then sees it."""
    acme = make_tenant()
    old, told = make_key(acme), []

    def take() -> None:
        try:
            make_key(acme, "thief", secret=old.secret)
        except IntegrityError as error:
            told.append(str(error))
        finally:
            connection.close()

    thief = threading.Thread(target=take)
    with transaction.atomic():
        keys.rotate(old.key, until=timezone.now() + DAY)
        thief.start()
        wait_until_somebody_waits()
    thief.join(10)
    assert len(told) == 1
    assert "what a rotated key had before" in told[0]


def wait_until_somebody_waits() -> None:
    with connection.cursor() as cursor:
        for _ in range(1_000):
            cursor.execute("SELECT pg_sleep(0.01), count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[1]:
                return
    raise AssertionError("nobody waits")


def test_key_is_found_by_an_index_by_either_secret() -> None:
    acme = make_tenant()
    ApiKey.objects.bulk_create(
        ApiKey(tenant=acme, name=f"k{n}", prefix="tg_abcd", digest=n.to_bytes(32))
        for n in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE tenants_app_apikey")
        cursor.execute(f"EXPLAIN {configuration.IDENTIFY['digest']}", {"value": b"d" * 32})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan on tenants_app_apikey" not in plan, plan
    assert "tenants_app_apikey_digest" in plan
    assert "tenants_app_apikey_previous_digest" in plan
