"""What tokens cost, exactly. Money is an integer count of ledger units here; Decimals are made only
at the edges.

One ledger unit is 10^-10 of the ledger currency. A price has at most 4 decimals per 1 000 000
tokens, so tokens times price is a whole number of units, always: nothing is rounded before a
statement line is.
"""

from dataclasses import dataclass
from decimal import Decimal

COST_PLACES = 10
PRICE_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class UsageFigures:
    """Tokens of one answer. `input` includes `cached` and `cache_write`; `output` includes
    `reasoning`.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output


@dataclass(frozen=True, slots=True)
class Rates:
    """One price row in ledger units per token: 0.0001 per 1M tokens is one unit per token."""

    price_id: int
    input: int
    cached_input: int
    cache_write: int
    output: int

    def cost(self, usage: UsageFigures) -> int:
        """The exact cost of `usage` in ledger units."""
        plain = usage.input - usage.cached - usage.cache_write
        return (
            plain * self.input
            + usage.cached * self.cached_input
            + usage.cache_write * self.cache_write
            + usage.output * self.output
        )

    @property
    def dearest_input(self) -> int:
        """What an input token can cost at most, whatever the provider's cache does."""
        return max(self.input, self.cached_input, self.cache_write)


def rates_of(
    *,
    price_id: int,
    input: Decimal,  # noqa: A002 - the price book's word
    cached_input: Decimal | None,
    cache_write: Decimal | None,
    output: Decimal,
) -> Rates:
    """Rates from prices per 1M tokens; a missing cache price is the input price. Raises ValueError
    past 4 decimals.
    """
    plain = per_token_units(input)
    return Rates(
        price_id=price_id,
        input=plain,
        cached_input=plain if cached_input is None else per_token_units(cached_input),
        cache_write=plain if cache_write is None else per_token_units(cache_write),
        output=per_token_units(output),
    )


def per_token_units(price_per_million: Decimal) -> int:
    """A price per 1M tokens as whole ledger units per token."""
    units = price_per_million.scaleb(PRICE_DECIMALS)
    if units != units.to_integral_value():
        raise ValueError(f"a price has at most {PRICE_DECIMALS} decimals per 1M tokens")
    return int(units)


def to_decimal(units: int) -> Decimal:
    """Ledger units as an amount of currency with 10 places."""
    return Decimal(units).scaleb(-COST_PLACES)


def to_units(amount: Decimal) -> int:
    """An amount of currency with at most 10 places as ledger units."""
    return int(amount.scaleb(COST_PLACES))
