"""Many keys of a tenant as a table: a line for each that is to be issued, and the table of their
secrets, which exists once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from django.utils import timezone

from tenants_app import strict_csv
from tenants_app.keys import IssuedKey
from tenants_app.models import ApiKey, Team, Tenant
from tenants_app.strict_csv import Columns, Row
from tenants_app.strict_json import Bad, Finding, Findings, text

KEYS_MAX: Final = 500
COLUMNS: Final = Columns(("name", "team", "expires"), frozenset({"team", "expires"}))
SECRETS: Final = ("name", "team", "secret")

_name = text(1, 100)


@dataclass(frozen=True, slots=True)
class WantedKey:
    """A line of the table."""

    name: str
    team: Team | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """The keys that a table asks for. With problems there are none to issue."""

    keys: tuple[WantedKey, ...] = ()
    problems: tuple[Finding, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Tells one set of keys from another."""
        told = [(key.name, key.team and key.team.pk, key.expires_at) for key in self.keys]
        return hashlib.sha256(repr(told).encode()).hexdigest()


@dataclass(slots=True)
class _Known:
    """What the lines speak of, read at once."""

    teams: dict[str, Team]
    # Names that are taken, and by what.
    names: dict[str, str]
    now: datetime


def plan(content: bytes, tenant: Tenant) -> KeyPlan:
    """What the table asks for. Must run in a transaction: it locks the tenant."""
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    found = Findings()
    rows = list(strict_csv.read(content, COLUMNS, found))
    if len(rows) > KEYS_MAX:
        found.problem("", f"The file asks for {len(rows):,} keys, at most {KEYS_MAX}: split it.")
        rows = []
    live = ApiKey.objects.for_tenant(tenant).filter(revoked_at=None)
    known = _Known(
        teams={team.slug: team for team in Team.objects.for_tenant(tenant)},
        names=dict.fromkeys(
            live.values_list("name", flat=True), "the tenant has a live key of this name already"
        ),
        now=timezone.now(),
    )
    wanted = [_wanted(row, known, found) for row in rows]
    if found.problems:
        return KeyPlan(problems=tuple(found.problems))
    return KeyPlan(tuple(wanted))


def write(issued: Iterable[IssuedKey]) -> str:
    """The table of these keys with their secrets."""
    rows = ((one.key.name, _slug(one.key.team), one.secret) for one in issued)
    return strict_csv.write([SECRETS, *rows])


def _wanted(row: Row, known: _Known, found: Findings) -> WantedKey:
    """What the line asks for; of one that is wrong nothing is used."""
    line, cells = row
    place, name, slug = f"line {line}", cells["name"], cells.get("team", "")
    try:
        _name(name)
    except Bad as bad:
        found.problem(f"{place}, name", str(bad))
    else:
        if why := known.names.get(name):
            found.problem(f"{place}, name", why)
        known.names.setdefault(name, f"is the name of the key on line {line}, too")
    if slug and slug not in known.teams:
        found.problem(f"{place}, team", "the tenant has no such team")
    expires_at = None
    try:
        expires_at = _instant(cells.get("expires", ""), known.now)
    except Bad as bad:
        found.problem(f"{place}, expires", str(bad))
    return WantedKey(name, known.teams.get(slug), expires_at)


def _instant(cell: str, now: datetime) -> datetime | None:
    """A day, at whose beginning in UTC the key ends, or an instant; None without either."""
    if not cell:
        return None
    try:
        if len(cell) == len("2027-01-31"):
            instant = datetime.combine(date.fromisoformat(cell), time(), UTC)
        else:
            instant = datetime.fromisoformat(cell)
            if instant.tzinfo is None:
                raise ValueError
        instant = instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Bad(
            "must be a day or an instant with its offset, like 2027-01-31 or 2027-01-31T18:00:00Z"
        ) from None
    if instant <= now:
        raise Bad("is in the past")
    return instant


def _slug(team: Team | None) -> str:
    return team.slug if team else ""
