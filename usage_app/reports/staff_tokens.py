"""Staff tokens: issuing and revoking them (sync), and recognising the one of a request (async, on
the pool). The database holds only their digests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import User
from django.utils import timezone

from tenants_app import keys
from tenants_app.database import retried
from tenants_app.errors import InsufficientScope, Unauthorized
from tenants_app.key_format import PREFIX as KEY_PREFIX
from tenants_app.key_format import SHOWN_CHARACTERS, new_secret, well_formed
from tenants_app.staff import TENANTS_OF_U
from usage_app.models import StaffToken

# Other than a key's, so that neither is taken for the other.
PREFIX: Final = "tgs_"

_LIVE = f"""
SELECT t.name, t.scopes, {TENANTS_OF_U}
FROM usage_app_stafftoken t JOIN auth_user u ON u.id = t.owner_id
WHERE t.digest = %s AND t.revoked_at IS NULL AND u.is_active AND u.is_staff
    AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
"""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token with its secret, which is shown once and kept nowhere."""

    token: StaffToken
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Presented:
    """Who asks: the token's name, and the only tenants that its owner may see, None for all."""

    name: str
    tenants: frozenset[int] | None


def issue(owner: User, *, name: str, expires_at: datetime | None = None) -> IssuedToken:
    """A new token of a member of staff."""
    secret = PREFIX + new_secret().removeprefix(KEY_PREFIX)
    token = StaffToken.objects.create(
        owner=owner,
        name=name,
        prefix=secret[: SHOWN_CHARACTERS + 1],
        digest=keys.digest(secret),
        expires_at=expires_at,
    )
    return IssuedToken(token, secret)


def revoke(token: StaffToken) -> None:
    """Dead at the next request. Revoking twice keeps the first date."""
    StaffToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    token.refresh_from_db(fields=["revoked_at"])


async def authenticate(meta: Mapping[str, Any], *, scope: str) -> Presented:
    """The live token that a request presents.

    Raises Unauthorized, also for a tenant's API key, and InsufficientScope.
    """
    secret = keys.presented_secret(meta)
    if secret is None or not _well_formed(secret):
        raise Unauthorized("No valid staff token was sent.")
    digest = keys.digest(secret)

    async def find(connection: Any) -> Any:
        return await (await connection.execute(_LIVE, [digest])).fetchone()

    found = await retried(find)
    if found is None:
        raise Unauthorized("No valid staff token was sent.")
    name, scopes, tenants = found
    if scope not in scopes:
        raise InsufficientScope(details={"scope": scope})
    return Presented(name, None if tenants is None else frozenset(tenants))


def _well_formed(secret: str) -> bool:
    return secret.startswith(PREFIX) and well_formed(KEY_PREFIX + secret.removeprefix(PREFIX))
