"""API keys: issuing, rotating and revoking them (sync), and recognising a request's caller.

The database holds only a key's HMAC-SHA256 under the server's pepper. What a key looks like is
`key_format`'s.
"""

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from tenants_app import directory
from tenants_app.configuration import By
from tenants_app.errors import (
    ServiceUnavailable,
    TenantMismatch,
    TenantSuspended,
    TollgateError,
    Unauthorized,
)
from tenants_app.key_format import (
    SHOWN_CHARACTERS,
    importable,
    new_secret,
    well_formed,
    worth_a_query,
)
from tenants_app.models import ApiKey, Team, Tenant
from tenants_app.models.keys import default_scopes
from tenants_app.models.tenants import HOST_PATTERN, SLUG_PATTERN
from tenants_app.snapshots import Caller, TenantSnapshot

__all__ = [
    "IssuedKey",
    "authenticate",
    "authenticate_cached",
    "current",
    "digest",
    "end_overlap",
    "issue",
    "issue_together",
    "names_someone",
    "new_secret",
    "playground",
    "presented_secret",
    "pseudonym",
    "revoke",
    "rotate",
    "well_formed",
]

_slug = re.compile(SLUG_PATTERN).fullmatch
_host = re.compile(HOST_PATTERN).fullmatch
# A name, perhaps with its root's dot and a port. Addresses in brackets are nobody's host.
_named_host = re.compile(r"([^:\[\]]+?)\.?(?::[0-9]*)?").fullmatch


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key with its secret, which is shown once and kept nowhere."""

    key: ApiKey
    secret: str = field(repr=False)


def issue(
    owner: Tenant | Team,
    *,
    name: str,
    scopes: Iterable[str] | None = None,
    expires_at: datetime | None = None,
    secret: str | None = None,
) -> IssuedKey:
    """A new key of the tenant, or of one of its teams for ever; `secret` imports one made
    elsewhere.

    Raises ValueError for an imported secret that could never be recognised or easily be guessed.
    """
    secret = new_secret() if secret is None else importable(secret)
    key = ApiKey.objects.create(
        tenant=owner.tenant if isinstance(owner, Team) else owner,
        team=owner if isinstance(owner, Team) else None,
        name=name,
        prefix=secret[:SHOWN_CHARACTERS],
        digest=digest(secret),
        scopes=default_scopes() if scopes is None else sorted(set(scopes)),
        expires_at=expires_at,
    )
    return IssuedKey(key, secret)


def issue_together(
    tenant: Tenant, batch: UUID, wanted: Iterable[tuple[str, Team | None, datetime | None]]
) -> list[IssuedKey]:
    """New keys by name, team and end, all of them or none; each batch is issued once.

    Locks the tenant. Raises ValueError if there are keys of this batch already.
    """
    made = [(new_secret(), *one) for one in wanted]
    rows = [
        ApiKey(
            tenant=tenant,
            team=team,
            name=name,
            prefix=secret[:SHOWN_CHARACTERS],
            digest=digest(secret),
            expires_at=expires_at,
            batch=batch,
        )
        for secret, name, team, expires_at in made
    ]
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if ApiKey.objects.filter(batch=batch).exists():
            raise ValueError("The keys of this batch are issued already.")
        ApiKey.objects.bulk_create(rows)
    return [IssuedKey(row, secret) for row, (secret, *_) in zip(rows, made, strict=True)]


def playground(tenant: Tenant) -> ApiKey:
    """The key that marks what staff tries at the tenant's charge, made when first asked for.

    Its digest is of no secret: 256 random bits. It may have been revoked, and then stays so.
    """
    key, _ = ApiKey.objects.get_or_create(
        tenant=tenant,
        kind=ApiKey.Kind.PLAYGROUND,
        defaults={"name": "Playground", "digest": secrets.token_bytes(32), "scopes": []},
    )
    return key


def rotate(key: ApiKey, *, until: datetime | None = None) -> IssuedKey:
    """A new secret for the same key, so that its budgets and usage go on. The present one works
    until then, with None no longer; one from a rotation before this is dead at once.

    Locks the key's row. Raises ValueError if it is revoked, the playground's, or was rotated since
    `key` was read, and if `until` is past.
    """
    secret = new_secret()
    if until is not None and until <= timezone.now():
        raise ValueError("The end of the overlap is past.")
    with transaction.atomic():
        row = ApiKey.objects.select_for_update(of=("self",)).get(pk=key.pk)
        if row.revoked_at is not None:
            raise ValueError("A revoked key is not rotated; issue a new one.")
        if row.is_playground:
            raise ValueError("The playground's key has no secret to rotate.")
        if bytes(row.digest) != bytes(key.digest):
            raise ValueError("The key has been rotated meanwhile.")
        row.previous_digest, row.previous_until = (row.digest, until) if until else (None, None)
        row.prefix, row.digest = secret[:SHOWN_CHARACTERS], digest(secret)
        row.save(update_fields=["prefix", "digest", "previous_digest", "previous_until"])
    return IssuedKey(row, secret)


def end_overlap(key: ApiKey) -> None:
    """Only the newest secret works from the next request on, in every process."""
    ApiKey.objects.filter(pk=key.pk).update(previous_digest=None, previous_until=None)
    key.refresh_from_db(fields=["previous_digest", "previous_until"])


def revoke(key: ApiKey) -> None:
    """Dead at the next request, in every process, by whichever secret. Revoking twice keeps the
    first date.
    """
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    key.refresh_from_db(fields=["revoked_at"])


def digest(secret: str) -> bytes:
    """What the database knows of a key: its HMAC-SHA256 under the pepper."""
    return hmac.digest(settings.TOLLGATE_KEY_PEPPER.encode(), secret.encode(), "sha256")


def pseudonym(tenant: TenantSnapshot, user_id: str) -> str:
    """What the ledger and upstreams know of a tenant's user: an HMAC, other for every tenant."""
    text = f"{tenant.id}:{user_id}".encode()
    return hmac.digest(settings.TOLLGATE_KEY_PEPPER.encode(), text, "sha256").hex()


def authenticate_cached(meta: Mapping[str, Any]) -> Caller | None:
    """The caller of a request if its snapshot is at hand and admits it, else None; never waits.

    `meta` holds the headers as in `request.META`. Raises Unauthorized for what is no credential.
    """
    secret = presented_secret(meta)
    by, value = _claim(meta) if secret is None else ("digest", digest(secret))
    caller = directory.cached(by, value)
    return caller if caller is not None and _refusal(caller, meta) is None else None


async def authenticate(meta: Mapping[str, Any]) -> Caller:
    """The caller of a request, loaded if need be.

    The snapshot may be out of date: the call is admitted by the ledger, or awaits `current`. Raises
    Unauthorized, TenantMismatch, TenantSuspended, and ServiceUnavailable if the database is away.
    """
    caller = await _find(meta)
    if _refusal(caller, meta) is None:
        return caller
    # What a snapshot refuses may have been allowed since.
    return await current(caller, meta)


async def current(caller: Caller, meta: Mapping[str, Any]) -> Caller:
    """The same request's caller as of now: `caller` itself if its snapshot still is the newest.

    Raises as `authenticate` does.
    """
    newest = await directory.ensure_current(caller)
    refusal = _refusal(newest, meta)
    if newest is not caller:
        # The key's row may have another secret now, or this one end earlier than the row does; and
        # a host may be another tenant's.
        found = await _find(meta)
        if found.tenant.id != newest.tenant.id:
            return await current(found, meta)
        refusal = refusal or _refusal(found, meta)
    if refusal is not None:
        raise refusal
    return newest


async def _find(meta: Mapping[str, Any]) -> Caller:
    caller: Caller | None = None
    secret = presented_secret(meta)
    if secret is None:
        by, value = _claim(meta)
        caller = await (directory.by_slug(value) if by == "slug" else directory.by_host(value))
    elif worth_a_query(secret):
        caller = await directory.by_digest(digest(secret))
    if caller is None:
        raise Unauthorized
    return caller


def presented_secret(meta: Mapping[str, Any]) -> str | None:
    """The credential of `Authorization: Bearer` or `x-api-key`; two that differ are refused."""
    api_key: str | None = meta.get("HTTP_X_API_KEY")
    authorization: str | None = meta.get("HTTP_AUTHORIZATION")
    if authorization is None:
        return api_key
    scheme, _, secret = authorization.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise Unauthorized("The Authorization header must be: Bearer, a space, and an API key.")
    if api_key is not None and api_key != secret:
        raise Unauthorized("Authorization and x-api-key carry different keys.")
    return secret


async def names_someone(meta: Mapping[str, Any]) -> bool:
    """Whether a request carries a credential, or a tenant's name or host that is trusted.

    A host that is nobody's names nobody; nor does one that the database cannot be asked about.
    """
    if "HTTP_AUTHORIZATION" in meta or "HTTP_X_API_KEY" in meta:
        return True
    if not settings.GATEWAY_TRUST_TENANT_HEADER:
        return False
    if meta.get("HTTP_X_TENANT_ID"):
        return True
    host = _host_of(meta)
    try:
        return bool(_host(host)) and await directory.by_host(host) is not None
    except ServiceUnavailable:
        return False


def _claim(meta: Mapping[str, Any]) -> tuple[By, str]:
    """The tenant that a trusted edge names without a key: by header, else by host."""
    if settings.GATEWAY_TRUST_TENANT_HEADER:
        named = meta.get("HTTP_X_TENANT_ID")
        if named and _slug(named):
            return "slug", named
        host = _host_of(meta)
        if not named and _host(host):
            return "host", host
    raise Unauthorized


def _refusal(caller: Caller, meta: Mapping[str, Any]) -> TollgateError | None:
    """What speaks against the caller: expiry, the tenant that the request names, suspension."""
    key, tenant = caller.key, caller.tenant
    if key is not None and key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return Unauthorized("The API key has expired.")
    named = meta.get("HTTP_X_TENANT_ID")
    if named and named != tenant.slug:
        return TenantMismatch()
    if tenant.host_owners:
        owner = tenant.host_owners.get(_host_of(meta))
        if owner is not None and owner != tenant.id:
            return TenantMismatch("This host belongs to another tenant than the request names.")
    if not tenant.active:
        return TenantSuspended()
    return None


def _host_of(meta: Mapping[str, Any]) -> str:
    """The request's host in lower case, without port and root dot; "" if it is no name.

    Only Host counts: X-Forwarded-Host is whatever a client writes, unless an edge overwrites it.
    """
    named = _named_host(meta.get("HTTP_HOST", ""))
    return named[1].lower() if named else ""
