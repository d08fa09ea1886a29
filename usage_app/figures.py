"""What usage came to over some days: a span of local days, and the sums that reports show. PURE."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Any, Self

from usage_app.periods import next_month

MONEY_DIGITS = 60


@dataclass(frozen=True, slots=True)
class Span:
    """The local days from `first` to `last`, both included."""

    first: date
    last: date

    @classmethod
    def month(cls, day: date) -> Self:
        """The calendar month that contains `day`."""
        return cls(day.replace(day=1), next_month(day) - timedelta(days=1))

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> "Span":
        """What one compares it with: the month before a month, else as many days just before."""
        last = self.first - timedelta(days=1)
        if self == Span.month(self.first):
            return Span.month(last)
        return Span(last - timedelta(days=self.days - 1), last)


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over entries; in this order `usage_sql.SUMS` selects them. Money is exact.

    `cost` is what the provider takes, `credit` money alone, and `price` what the tenant pays: the
    cost with its margin of each day, and the credit.
    """

    requests: int = 0
    errors: int = 0
    aborted: int = 0
    expired: int = 0
    attempts: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    estimated_tokens: int = 0
    unpriced_tokens: int = 0
    unpriced_requests: int = 0
    cost: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)
    price: Decimal = Decimal(0)

    @classmethod
    def split(cls, row: Sequence[Any], groups: int) -> tuple[tuple[Any, ...], Self]:
        """A row of `usage_sql.usage` as its group and its figures."""
        return tuple(row[:groups]), cls(*row[groups:])

    @property
    def known_cost(self) -> Decimal | None:
        """The cost, or None when nothing of this had a price: unknown is not 0."""
        unknown = self.unpriced_requests and self.unpriced_tokens == self.total_tokens
        return None if unknown and not self.cost else self.cost

    @property
    def known_price(self) -> Decimal | None:
        """The price, or None when nothing of this had one; a credit has, whatever else has not."""
        return None if self.known_cost is None and not self.price else self.price

    @property
    def estimated_share(self) -> float:
        """The part of the tokens, 0 to 1, that no provider reported."""
        return _share(self.estimated_tokens, self.total_tokens)

    @property
    def unpriced_share(self) -> float:
        """The part of the tokens, 0 to 1, whose price is not known."""
        return _share(self.unpriced_tokens, self.total_tokens)


def total(figures: Iterable[Figures]) -> Figures:
    """The sum of all."""
    rows = [astuple(row) for row in figures]
    # Prices have sixteen places; Python would round a sum to 28 digits.
    with localcontext(prec=MONEY_DIGITS):
        return Figures(*(sum(column) for column in zip(*rows, strict=True))) if rows else Figures()


def _share(part: int, whole: int) -> float:
    """Corrections can make a part larger than its whole: then it is all of it, or nothing."""
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0
