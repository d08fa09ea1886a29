"""API keys in tenant files: secrets of keys made elsewhere, or digests that an export wrote. PURE.

A secret is never in a problem's text, nor in a repr.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tenants_app.budget_files import Allowance, Scope, read_budgets
from tenants_app.key_format import importable
from tenants_app.strict_json import Bad, Findings, Reader, matching, text
from tenants_app.team_files import SLUG

DIGEST: Final = "hmac-sha256:"
NAMES: Final = ("name", "team", "secret", "digest", "prefix", "scopes", "expiresAt", "budgets")
SCOPE: Final = matching(r"[!-~]{1,50}", "must be 1 to 50 visible ASCII characters, like usage:read")
PREFIX: Final = matching(r"[!-~]{0,16}", "must be at most 16 visible ASCII characters")

_digest = re.compile(f"{DIGEST}([0-9a-f]{{64}})").fullmatch


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key by its secret, or by the digest that a Tollgate with the same pepper made of it."""

    path: str
    secret: str | None = field(default=None, repr=False)
    digest: bytes | None = field(default=None, repr=False)
    # name, team, prefix, scopes and expires_at, as far as the file has them.
    columns: Mapping[str, Any] = field(default_factory=dict)
    budgets: Mapping[Scope, Allowance] | None = None


def read_keys(reader: Reader) -> tuple[KeyFile, ...]:
    """The list `apiKeys`; each item a secret, or an object with a secret or a digest."""
    found = (_key(item, path, reader.findings) for path, item in reader.items("apiKeys") or ())
    return tuple(key for key in found if key is not None)


def _key(item: object, path: str, findings: Findings) -> KeyFile | None:
    if isinstance(item, str):
        lone = Reader({"secret": item}, "", Findings(), ("secret",))
        secret = lone.checked(item, path, _secret)
        for problem in lone.findings.problems:
            findings.problem(path, problem.text)
        return None if secret is None else KeyFile(path, secret=secret)
    key = Reader(item, path, findings, NAMES)
    if not key.is_object:
        return None
    if ("secret" in key) == ("digest" in key):
        findings.problem(path, "must have either a secret or a digest")
    if "prefix" in key and "secret" in key:
        findings.problem(key.below("prefix"), "goes with a digest; a secret has its own beginning")
    return KeyFile(
        path,
        secret=key.take("secret", _secret),
        digest=key.take("digest", _digest_bytes),
        columns=_columns(key),
        budgets=read_budgets(key),
    )


def _columns(key: Reader) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "name": key.take("name", text(1, 100)),
        "prefix": key.take("prefix", PREFIX),
        "scopes": key.each("scopes", SCOPE),
    }
    columns = {name: value for name, value in columns.items() if value is not None}
    if "scopes" in columns:
        columns["scopes"] = tuple(sorted(columns["scopes"]))
    if key.is_null("team"):
        columns["team"] = None
    elif (team := key.take("team", SLUG)) is not None:
        columns["team"] = team
    if key.is_null("expiresAt"):
        columns["expires_at"] = None
    elif (expires_at := key.take("expiresAt", _instant)) is not None:
        columns["expires_at"] = expires_at
    return columns


def _secret(value: object) -> str:
    if not isinstance(value, str):
        raise Bad("must be a string")
    try:
        return importable(value)
    except ValueError:
        raise Bad(
            "must be 16 to 512 visible ASCII characters; one that begins with tg_ must be whole"
        ) from None


def _digest_bytes(value: object) -> bytes:
    found = _digest(value) if isinstance(value, str) else None
    if found is None:
        raise Bad(f"must be {DIGEST} and 64 hexadecimal digits, as export_tenants writes it")
    return bytes.fromhex(found[1])


def _instant(value: object) -> datetime:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Bad("must be an instant with its offset, like 2027-01-31T00:00:00Z, or null")
