"""The price book as the request path sees it: cached per process, re-read when the shared
configuration's version moves.
"""

from bisect import bisect_right
from datetime import datetime

from tenants_app.database import Connection, Row, retried
from usage_app.pricing import Rates, rates_of

_READ = """
SELECT m.public_id, p.valid_from, p.id, p.input, p.cached_input, p.cache_write, p.output
FROM usage_app_price p JOIN tenants_app_model m ON m.id = p.model_id
ORDER BY m.public_id, p.valid_from
"""

Book = dict[str, tuple[list[datetime], list[Rates]]]


class _Shelf:
    """The book at hand, and the shared version it was read at."""

    book: Book = {}
    version: int | None = None


async def ensure(shared_version: int) -> None:
    """Make sure the cached book is the one of the snapshot's `shared_version`, or newer."""
    if _Shelf.version == shared_version:
        return
    rows = await retried(_read)
    book: Book = {}
    for public_id, valid_from, price_id, plain, cached, cache_write, output in rows:
        starts, rates = book.setdefault(public_id, ([], []))
        starts.append(valid_from)
        rates.append(
            rates_of(
                price_id=price_id,
                input=plain,
                cached_input=cached,
                cache_write=cache_write,
                output=output,
            )
        )
    _Shelf.book, _Shelf.version = book, shared_version


async def _read(connection: Connection) -> list[Row]:
    return await (await connection.execute(_READ)).fetchall()


def rates_at(model: str, instant: datetime) -> Rates | None:
    """What the model's tokens cost at `instant`, or None: unpriced. Await `ensure` first."""
    entry = _Shelf.book.get(model)
    if entry is None:
        return None
    starts, rates = entry
    place = bisect_right(starts, instant)
    return rates[place - 1] if place else None


def forget() -> None:
    """Read the book again when it is next asked for."""
    _Shelf.version = None
