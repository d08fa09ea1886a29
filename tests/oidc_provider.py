"""A provider of OIDC on a real socket: discovery, codes, tokens, keys, and ways to be wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

CLIENT_ID, CLIENT_SECRET = "tollgate", "oidc-client-secret-nobody-may-see"
Claims = dict[str, Any]
Sign = Callable[["OidcProvider", Claims], str]


@dataclass
class OidcProvider:
    """`person` is who logs in next; `change`, `sign` and `answers` make it lie or fail."""

    person: Claims = field(default_factory=dict)
    change: Claims = field(default_factory=dict)
    userinfo: Claims | None = None
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sign: Sign = field(default=lambda self, claims: self.signed(claims))
    kid: str = "first"
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        handler = type("Handler", (_Handler,), {"provider": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def forget(self) -> None:
        """Honest again."""
        self.person = {"sub": "s-alice", "preferred_username": "alice", "groups": ["ops"]}
        self.change, self.userinfo, self.answers, self.asked = {}, None, {}, []
        self.sign = lambda provider, claims: provider.signed(claims)

    def signed(self, claims: Claims, *, key: Any = None, algorithm: str = "RS256") -> str:
        headers = {"kid": self.kid}
        return jwt.encode(claims, key or self.key, algorithm=algorithm, headers=headers)

    def public_key(self) -> Claims:
        told: Claims = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return told | {"kid": self.kid, "use": "sig", "alg": "RS256"}

    def authorize(self, address: str) -> str:
        """Somebody logs in at this address; where their browser is sent back to."""
        asked = dict(parse_qsl(urlsplit(address).query))
        code = uuid4().hex
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def told(self, path: str, body: bytes, authorization: str) -> tuple[int, Any]:
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
            }
        if path == "/keys":
            return 200, {"keys": [self.public_key()]}
        if path == "/userinfo" and self.userinfo is not None:
            return (200, self.userinfo) if authorization == "Bearer access" else (401, {})
        return self.token(body, authorization) if path == "/token" else (404, {})

    def token(self, body: bytes, authorization: str) -> tuple[int, Any]:
        sent = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        asked = self.codes.pop(sent.get("code", ""), None)
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or authorization != f"Basic {pair}":
            return 400, {"error": "invalid_grant"}
        if asked["code_challenge"] != challenge or asked["redirect_uri"] != sent["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        claims |= {"nonce": asked["nonce"]} | self.person | self.change
        wanted = {name: value for name, value in claims.items() if value is not None}
        return 200, {"id_token": self.sign(self, wanted), "access_token": "access"}


class _Handler(BaseHTTPRequestHandler):
    provider: OidcProvider

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"])))

    def _answer(self, body: bytes) -> None:
        self.provider.asked.append(self.path)
        status, told = self.provider.told(self.path, body, self.headers.get("authorization", ""))
        text = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Quiet."""
