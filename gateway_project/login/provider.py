"""The provider of OIDC as it is spoken to: discovery, codes for tokens, keys, user info.

It asks nothing before somebody logs in, and believes no answer that is large, late or elsewhere.
Whether a token is good is `tokens`'; who somebody is here is `accounts`'.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
from django.conf import settings

from gateway_project.login import tokens

TIMEOUT_SECONDS = 10.0
LARGEST_ANSWER = 1_000_000
KEPT_SECONDS = 3600.0
# A token that names a key we do not know makes us ask again, but not at every token's bidding.
KEYS_AT_MOST_EVERY_SECONDS = 30.0
WELL_KNOWN = "/.well-known/openid-configuration"


class ProviderFailed(Exception):
    """The provider did not answer as it should; the text says how, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the provider is asked for what."""

    authorization: str
    token: str
    keys: str
    userinfo: str
    secret_in_body: bool


@dataclass(slots=True)
class Provider:
    """One issuer, with what was learnt of it; used by several threads."""

    issuer: str
    _endpoints: Endpoints | None = None
    _keys: list[dict[str, Any]] = field(default_factory=list)
    _learnt_at: float = float("-inf")
    _keys_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def address(self, parameters: Mapping[str, str]) -> str:
        """Where the browser is sent."""
        endpoint = self.endpoints().authorization
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"

    def endpoints(self) -> Endpoints:
        """By discovery; asked again after an hour."""
        with self._lock:
            if self._endpoints is None or time.monotonic() - self._learnt_at > KEPT_SECONDS:
                self._endpoints = _discovered(self.issuer)
                self._learnt_at = time.monotonic()
            return self._endpoints

    def tokens_for(self, code: str, *, verifier: str, redirect_uri: str) -> dict[str, Any]:
        """What the provider gives for a code: at least an ID token."""
        endpoints = self.endpoints()
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": settings.OIDC_CLIENT_ID,
        }
        headers = {}
        if endpoints.secret_in_body:
            sent["client_secret"] = settings.OIDC_CLIENT_SECRET
        elif settings.OIDC_CLIENT_SECRET:
            headers["Authorization"] = _basic(settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET)
        answer = _ask("POST", endpoints.token, data=sent, headers=headers)
        if not isinstance(answer.get("id_token"), str):
            raise ProviderFailed("it gave no ID token")
        return answer

    def claims(self, id_token: str, expected: tokens.Expected) -> dict[str, Any]:
        """The claims of a token that is good; with a key we do not know, newer keys are fetched.

        Raises TokenRefused.
        """
        try:
            return tokens.verified(id_token, self._known_keys(), expected)
        except tokens.UnknownKey:
            return tokens.verified(id_token, self._known_keys(newer=True), expected)

    def userinfo(self, access_token: object) -> dict[str, Any]:
        """What the provider tells of somebody beside the ID token."""
        endpoint = self.endpoints().userinfo
        if not endpoint or not isinstance(access_token, str):
            return {}
        return _ask("GET", endpoint, headers={"Authorization": f"Bearer {access_token}"})

    def _known_keys(self, *, newer: bool = False) -> list[dict[str, Any]]:
        endpoint = self.endpoints().keys
        with self._lock:
            age = time.monotonic() - self._keys_at
            if age > (KEYS_AT_MOST_EVERY_SECONDS if newer else KEPT_SECONDS):
                found = _ask("GET", endpoint).get("keys")
                if not isinstance(found, list):
                    raise ProviderFailed("it has no keys")
                self._keys = [key for key in found if isinstance(key, dict)]
                self._keys_at = time.monotonic()
            return self._keys


@lru_cache(maxsize=1)
def of(issuer: str) -> Provider:
    """The provider of this issuer, kept for the life of the process."""
    return Provider(issuer)


def _discovered(issuer: str) -> Endpoints:
    told = _ask("GET", issuer.rstrip("/") + WELL_KNOWN)
    if told.get("issuer") != issuer:
        raise ProviderFailed("it calls itself by another issuer")
    methods = told.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    found = {
        name: str(told.get(f"{name}_endpoint") or "")
        for name in ("authorization", "token", "userinfo")
    } | {"keys": str(told.get("jwks_uri") or "")}
    missing = [name for name, url in found.items() if not url and name != "userinfo"]
    if missing or not all(safe(url) for url in found.values() if url):
        raise ProviderFailed("its addresses are missing, or not https")
    in_body = "client_secret_basic" not in methods and bool(settings.OIDC_CLIENT_SECRET)
    return Endpoints(**found, secret_in_body=in_body)


def safe(url: str) -> bool:
    """Whether nobody on the way can read it: https, or plain on this machine."""
    parts = urlsplit(url)
    is_here = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_here)
    )


def _basic(client: str, secret: str) -> str:
    """RFC 6749, section 2.3.1: both are form-encoded before they are joined."""
    pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _ask(method: str, url: str, **sent: Any) -> dict[str, Any]:
    """The JSON object that the provider answers with."""
    what = urlsplit(url).path
    try:
        with (
            httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client,
            client.stream(method, url, **sent) as answer,
        ):
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    raise ProviderFailed(f"too large an answer at {what}")
            status = answer.status_code
    except httpx.HTTPError as error:
        raise ProviderFailed(f"{type(error).__name__} at {what}") from error
    if status != httpx.codes.OK:
        raise ProviderFailed(f"status {status} at {what}")
    try:
        told = json.loads(body)
    except ValueError as error:
        raise ProviderFailed(f"no JSON at {what}") from error
    if not isinstance(told, dict):
        raise ProviderFailed(f"no JSON object at {what}")
    return told
