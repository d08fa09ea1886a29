"""Whether an ID token is the provider's, for us, for this login and still good. PURE.

OpenID Connect Core 1.0, section 3.1.3.7, in its order; signatures and times are PyJWT's.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

# Public keys only: with these no text that somebody knows, such as a public key, can sign.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
CLOCKS_DIFFER_SECONDS = 30
LONGEST_SUBJECT = 255


class TokenRefused(Exception):
    """The token proves nothing; the text says why, and holds nothing of it."""


class UnknownKey(TokenRefused):
    """None of the keys has signed it; the provider may have newer ones."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to say."""

    issuer: str
    client_id: str
    nonce: str


def verified(token: str, keys: Sequence[Mapping[str, Any]], expected: Expected) -> dict[str, Any]:
    """The claims of an ID token. Raises TokenRefused, and UnknownKey if no key is its own."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError as error:
        raise TokenRefused("it is no token") from error
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise TokenRefused("its algorithm is not allowed")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            _key(header, keys),
            algorithms=[algorithm],
            audience=expected.client_id,
            issuer=expected.issuer,
            leeway=CLOCKS_DIFFER_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except jwt.InvalidTokenError as error:
        raise TokenRefused(type(error).__name__) from error
    _check(claims, expected)
    return claims


def _check(claims: Mapping[str, Any], expected: Expected) -> None:
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), expected.nonce.encode()):
        raise TokenRefused("it belongs to another login")
    audience, party = claims["aud"], claims.get("azp")
    shared = isinstance(audience, list) and len(audience) > 1
    if party != expected.client_id and (shared or party is not None):
        raise TokenRefused("it was issued to another client")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
        raise TokenRefused("it names nobody")


def _key(header: Mapping[str, Any], keys: Sequence[Mapping[str, Any]]) -> jwt.PyJWK:
    """The key that the token names, or the only one there is."""
    named = header.get("kid")
    found = [
        key
        for key in keys
        if key.get("use", "sig") == "sig"
        and key.get("kty") != "oct"
        and key.get("alg", header["alg"]) == header["alg"]
        and (named is None or key.get("kid") == named)
    ]
    if len(found) != 1:
        raise UnknownKey("none of the provider's keys is its own")
    try:
        return jwt.PyJWK(dict(found[0]), algorithm=header["alg"])
    except jwt.PyJWTError as error:
        raise TokenRefused("its key cannot be used") from error
