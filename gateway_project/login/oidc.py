"""One login by OIDC: Authorization Code with PKCE, from the button to the person.

What a login that is under way must remember stays in the session of the browser that began it, and
is used once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from gateway_project.login import provider
from gateway_project.login.accounts import Person
from gateway_project.login.tokens import Expected

PENDING = "oidc"
# Somebody may have the login open in several tabs.
PENDING_AT_MOST = 5
PENDING_SECONDS = 600


class LoginFailed(Exception):
    """This login came to nothing; the text says why, and is for the log."""


def is_on() -> bool:
    """Whether a provider is configured."""
    return bool(settings.OIDC_ISSUER)


def begin(request: HttpRequest, *, leads_to: str) -> str:
    """Remember a new login; where to send the browser. Raises ProviderFailed."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    challenge = hashlib.sha256(verifier.encode()).digest()
    address = provider.of(settings.OIDC_ISSUER).address(
        {
            "response_type": "code",
            "client_id": settings.OIDC_CLIENT_ID,
            "redirect_uri": redirect_uri(request),
            "scope": settings.OIDC_SCOPES,
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
    )
    pending = list(request.session.get(PENDING, {}).items())[1 - PENDING_AT_MOST :]
    request.session[PENDING] = dict(pending) | {
        state: {"nonce": nonce, "verifier": verifier, "next": leads_to, "at": time.time()}
    }
    return address


def finish(request: HttpRequest) -> tuple[Person, str]:
    """Who came back from the provider, and where they wanted to go.

    Raises LoginFailed, ProviderFailed and TokenRefused.
    """
    told = request.GET
    pending = _taken(request, told.get("state", ""))
    if error := told.get("error"):
        raise LoginFailed(f"the provider says {re.sub(r'[^a-z_]', '', error)[:40]}")
    if not hmac.compare_digest(told.get("iss", settings.OIDC_ISSUER), settings.OIDC_ISSUER):
        raise LoginFailed("the answer is another issuer's")  # RFC 9207
    asked = provider.of(settings.OIDC_ISSUER)
    given = asked.tokens_for(
        told.get("code", ""), verifier=pending["verifier"], redirect_uri=redirect_uri(request)
    )
    expected = Expected(settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, pending["nonce"])
    claims = asked.claims(given["id_token"], expected)
    if claim(claims, settings.OIDC_GROUPS_CLAIM) is None:
        more = asked.userinfo(given.get("access_token"))
        if more and more.get("sub") != claims["sub"]:
            raise LoginFailed("the user info is somebody else's")
        claims = more | claims
    return person(claims), pending["next"]


def redirect_uri(request: HttpRequest) -> str:
    """Where the provider sends the browser back to; it has to be registered there."""
    return request.build_absolute_uri(reverse("oidc_callback"))


def person(claims: Mapping[str, Any]) -> Person:
    """Who these claims are about."""
    groups = claim(claims, settings.OIDC_GROUPS_CLAIM)
    listed = groups if isinstance(groups, list) else [groups]
    texts = {name: _text(claims.get(name)) for name in ("email", "given_name", "family_name")}
    return Person(
        issuer=claims["iss"],
        subject=claims["sub"],
        name=_text(claims.get("preferred_username")) or texts["email"],
        groups=frozenset(group for group in listed if isinstance(group, str)),
        **texts,
    )


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by its way through nested ones: `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _taken(request: HttpRequest, state: str) -> dict[str, Any]:
    """What was remembered of this login; once, and not for long."""
    pending = dict(request.session.get(PENDING, {}))
    found: dict[str, Any] | None = pending.pop(state, None)
    if found is None:
        raise LoginFailed("it was not begun in this browser, or is finished already")
    request.session[PENDING] = pending
    if time.time() - found["at"] > PENDING_SECONDS:
        raise LoginFailed("it took too long")
    return found


def _text(value: object) -> str:
    return value.replace("\0", "") if isinstance(value, str) else ""
