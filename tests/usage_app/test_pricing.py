"""Money is exact: whole ledger units, never rounded."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_app.pricing import UsageFigures, per_token_units, rates_of, to_decimal, to_units

prices = st.decimals(0, 10**6, places=4, allow_nan=False, allow_infinity=False)
tokens = st.integers(0, 10**9)


@given(input_price=prices, output_price=prices, tokens_in=tokens, tokens_out=tokens)
def test_cost_is_price_times_tokens_to_the_last_place(
    input_price: Decimal, output_price: Decimal, tokens_in: int, tokens_out: int
) -> None:
    rates = rates_of(
        price_id=1, input=input_price, cached_input=None, cache_write=None, output=output_price
    )
    cost = rates.cost(UsageFigures(input=tokens_in, output=tokens_out))
    scaled = int(input_price.scaleb(4)) * tokens_in + int(output_price.scaleb(4)) * tokens_out
    assert cost == scaled


def test_cached_tokens_have_their_own_price_and_are_part_of_the_input() -> None:
    rates = rates_of(
        price_id=1,
        input=Decimal(10),
        cached_input=Decimal(1),
        cache_write=Decimal("12.5"),
        output=Decimal(30),
    )
    usage = UsageFigures(input=1000, cached=600, cache_write=100, output=10)
    expected = (300 * 10 + 600 * 1 + 100 * Decimal("12.5") + 10 * 30) / Decimal(10**6)
    assert to_decimal(rates.cost(usage)) == expected
    assert rates.dearest_input == per_token_units(Decimal("12.5"))


def test_price_with_too_many_decimals_is_refused() -> None:
    with pytest.raises(ValueError, match="4 decimals"):
        per_token_units(Decimal("0.00001"))


@given(st.integers(0, 10**22))
def test_units_and_amounts_are_two_ways_to_say_the_same(units: int) -> None:
    assert to_units(to_decimal(units)) == units
