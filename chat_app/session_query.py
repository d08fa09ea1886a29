"""Which page of a session is asked for, and the place between two pages. PURE."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenants_app.errors import InvalidRequest

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_ID = 2**63 - 1

_NUMBER = re.compile(r"\d{1,3}", re.ASCII)
_PLACE = re.compile(r"[A-Za-z0-9_-]{32}")


@dataclass(frozen=True, slots=True)
class Place:
    """A message's place in its session, oldest first."""

    turn_id: UUID
    id: int

    def as_text(self) -> str:
        """What `before` takes: 32 characters that mean nothing to a client."""
        return urlsafe_b64encode(self.turn_id.bytes + self.id.to_bytes(8)).decode()


END = Place(UUID(int=2**128 - 1), MAX_ID)


@dataclass(frozen=True, slots=True)
class PageCall:
    """At most `limit` messages of a session, the newest first, of those before `before`."""

    limit: int = DEFAULT_LIMIT
    before: Place = END


def parse_page(query: Mapping[str, Sequence[str]]) -> PageCall:
    """The page of `?limit=&before=`.

    Raises InvalidRequest whose `fields` name every bad or unknown field.
    """
    values: dict[str, Any] = {}
    bad: dict[str, str] = {}
    for name, given in query.items():
        if name not in _FIELDS:
            bad[name] = "is not a known field"
        elif len(given) > 1:
            bad[name] = "must be given once"
        else:
            read, rule = _FIELDS[name]
            values[name] = read(given[0])
            if values[name] is None:
                bad[name] = rule
    if bad:
        raise InvalidRequest.fields(bad)
    return PageCall(**values)


def _limit(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and 1 <= int(text) <= MAX_LIMIT else None


def _place(text: str) -> Place | None:
    if not _PLACE.fullmatch(text):
        return None
    decoded = urlsafe_b64decode(text)
    place = Place(UUID(bytes=decoded[:16]), int.from_bytes(decoded[16:]))
    return place if place.id <= MAX_ID else None


_FIELDS: Mapping[str, tuple[Callable[[str], int | Place | None], str]] = {
    "limit": (_limit, f"must be a whole number from 1 to {MAX_LIMIT}"),
    "before": (_place, "must be the `next` of another page"),
}
