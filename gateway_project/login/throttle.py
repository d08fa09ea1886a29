"""How often a password may be tried: per account, per address, per known browser. It owns the table
of throttles, and knows neither forms nor passwords.

A try is taken before the password is looked at, in one statement on a locked row, and given back
when the password was right: so any number of tries at once get as many as there are. The account of
somebody who is under attack stays open to the browsers in which that person has logged in before.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.db import connection, transaction
from django.db.models import F
from django.http import HttpRequest

from gateway_project.login.models import LoginThrottle
from tenants_app.networks import unwrapped

COOKIE = "known_browser"
COOKIE_SECONDS = 180 * 24 * 3600
SALT = "gateway_project.login.throttle"

# Subscribers are given out whole networks; one attacker is one of these.
IPV6_PREFIX = 64
FORGOTTEN_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Limit:
    """So many tries at once, and another one each time this has passed."""

    tries: int
    every: timedelta


LIMITS = {
    "account": Limit(10, timedelta(seconds=60)),
    "address": Limit(30, timedelta(seconds=20)),
    "browser": Limit(10, timedelta(seconds=60)),
}


@dataclass(frozen=True, order=True, slots=True)
class Bucket:
    """Whose tries are counted."""

    kind: str
    subject: str


TAKE = """
INSERT INTO gateway_project_loginthrottle AS row (kind, subject, full_again_at)
VALUES (%(kind)s, %(subject)s, clock_timestamp() + %(every)s)
ON CONFLICT (kind, subject) DO UPDATE
SET full_again_at = greatest(row.full_again_at, clock_timestamp()) + %(every)s
WHERE row.full_again_at <= clock_timestamp() + %(room)s
RETURNING 1
"""
WAIT = """
SELECT extract(epoch FROM full_again_at - %(room)s - clock_timestamp())
FROM gateway_project_loginthrottle WHERE kind = %(kind)s AND subject = %(subject)s
"""
FORGET = """
DELETE FROM gateway_project_loginthrottle WHERE id IN (
    SELECT id FROM gateway_project_loginthrottle WHERE full_again_at < clock_timestamp()
    ORDER BY full_again_at LIMIT %s FOR UPDATE SKIP LOCKED
)
"""


def buckets(request: HttpRequest, username: str) -> list[Bucket]:
    """Whose tries this login uses: the browser's alone if it is known, else account and address."""
    account = account_of(username)
    browser = known_browser(request, account)
    if browser is not None:
        return [browser]
    found = [Bucket("account", shown(username, account))]
    if network := network_of(request.META.get("REMOTE_ADDR", "")):
        found.append(Bucket("address", network))
    return found


def take(buckets: Sequence[Bucket]) -> int:
    """Take one try of each and return 0; or take none, and return the seconds until there is one.

    Locks the rows in their order until it returns.
    """
    with transaction.atomic():
        for bucket in sorted(buckets):
            wait = _take(bucket)
            if wait:
                transaction.set_rollback(True)
                return wait
    return 0


def give_back(buckets: Sequence[Bucket]) -> None:
    """The tries of a login that was right."""
    for bucket in sorted(buckets):
        LoginThrottle.objects.filter(kind=bucket.kind, subject=bucket.subject).update(
            full_again_at=F("full_again_at") - LIMITS[bucket.kind].every
        )


def forget() -> None:
    """Delete some of the rows that hold nobody back any more; the table cannot grow."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [FORGOTTEN_AT_ONCE])


def wait_of(row: LoginThrottle, seconds_left: float) -> int:
    """How long a row holds its subject back, if it is full again in so many seconds."""
    limit = LIMITS[row.kind]
    return max(0, ceil(seconds_left - (limit.tries - 1) * limit.every.total_seconds()))


def account_of(username: str) -> AbstractBaseUser | None:
    """The account of this name."""
    users = get_user_model()._default_manager
    return users.filter(username=username).first()


def shown(username: str, account: AbstractBaseUser | None) -> str:
    """The name to keep. Some people type their password here, so only names of accounts are kept.

    All others are told apart by a digest.
    """
    if account is not None:
        return account.get_username()
    digest = hmac.new(settings.SECRET_KEY.encode(), username.encode(), hashlib.sha256)
    return f"(no account) {digest.hexdigest()[:32]}"


def network_of(address: str) -> str:
    """The address, or its network where subscribers get whole ones; empty for what is none.

    The server has looked at X-Forwarded-For already, where it came from a proxy that it trusts.
    """
    try:
        parsed = unwrapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed)


def known_browser(request: HttpRequest, account: AbstractBaseUser | None) -> Bucket | None:
    """The bucket of this browser, if somebody has logged in to this account with it before."""
    if account is None or COOKIE not in request.COOKIES:
        return None
    try:
        pk, name = signing.loads(request.COOKIES[COOKIE], salt=SALT, max_age=COOKIE_SECONDS)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return Bucket("browser", f"{account.get_username()} {name}") if pk == account.pk else None


def browser_cookie(account: AbstractBaseUser) -> str:
    """What makes a browser known. It opens nothing: it only counts its wrong passwords apart."""
    return signing.dumps([account.pk, secrets.token_hex(4)], salt=SALT)


def _take(bucket: Bucket) -> int:
    limit = LIMITS[bucket.kind]
    values: dict[str, Any] = {
        "kind": bucket.kind,
        "subject": bucket.subject,
        "every": limit.every,
        "room": limit.every * (limit.tries - 1),
    }
    with connection.cursor() as cursor:
        cursor.execute(TAKE, values)
        if cursor.fetchone():
            return 0
        cursor.execute(WAIT, values)
        row = cursor.fetchone()
    # It may have been given back, or reset, since; then the next try will do.
    return max(1, ceil(row[0])) if row else 1
