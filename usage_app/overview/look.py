"""When somebody looks, and whose figures they see; how shares are told."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

# The tenants `t` that are looked at.
SEEN: Final = "(%(within)s::bigint[] IS NULL OR t.id = ANY(%(within)s))"


@dataclass(frozen=True, slots=True)
class Look:
    """A moment, by the database's clock, and the ids of the only tenants to see; None: all. What
    was settled before `rolled_up_to` is in the roll-ups; None: nothing is.
    """

    now: datetime
    within: frozenset[int] | None = None
    rolled_up_to: datetime | None = None

    def rows(self, statement: str, **params: Any) -> list[tuple[Any, ...]]:
        """What a statement finds that takes `now` and `within`."""
        within = None if self.within is None else sorted(self.within)
        with connection.cursor() as cursor:
            cursor.execute(statement, {"now": self.now, "within": within, **params})
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def share(part: int, of: int) -> str:
    """How many of a hundred, to read; small shares are never told as none."""
    if not part or not of:
        return "0 %"
    if part * 1000 < of:
        return "< 0.1 %"
    return f"{Decimal(part) * 100 / of:.1f} %"
