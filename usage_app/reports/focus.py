"""Usage as rows of FOCUS 1.2 (the FinOps cost and usage specification): one for each kind of token
of a tenant, day, cost centre, key and model. Their sums are the report's to the last digit. PURE.

List prices are the price book's; contracted, effective and billed ones have the margin on top.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, localcontext
from typing import Final

from usage_app.amounts import instant
from usage_app.figures import MONEY_DIGITS
from usage_app.periods import day_period, month_period
from usage_app.pricing import Rates, to_decimal
from usage_app.reports.lines import Line

Value = str | int | Decimal | None

COLUMNS: Final = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType"),
    *("BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory"),
    *("ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd"),
    *("ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost"),
    *("ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice"),
    *("PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName"),
    *("RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType"),
    *("ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter"),
    *("SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType"),
    *("Tags", "x_CostCenter", "x_Team", "x_Cost", "x_Requests", "x_Attempts", "x_TotalTokens"),
    *("x_EstimatedTokens", "x_UnpricedTokens"),
)
ISSUER: Final = "Tollgate"
TOKENS: Final = "Tokens"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a line's tenant and day add to it: the price in force, if there is one, and the margin
    in percent. `rates` are None too where the line's tokens have not all been priced.
    """

    timezone: str
    currency: str
    rates: Rates | None
    percent: Decimal

    @property
    def factor(self) -> Decimal:
        """What a cost is multiplied with to be a price."""
        return 1 + self.percent.scaleb(-2)


def rows(line: Line, terms: Terms) -> Iterator[dict[str, Value]]:
    """The rows of a line that is by day, tenant, cost centre, key and model.

    Where one price explains the cost, each kind of token has its part of it; what it does not
    explain (a price that changed within the day, a correction) follows in a row of its own.
    """
    figures = line.figures
    with localcontext(prec=MONEY_DIGITS):
        frame = _frame(line, terms)
        counted: dict[str, Value] = {
            "x_Requests": figures.requests,
            "x_Attempts": figures.attempts,
            "x_EstimatedTokens": figures.estimated_tokens,
            "x_UnpricedTokens": figures.unpriced_tokens,
        }
        left = figures.cost
        for meter, tokens, units in _meters(line, terms.rates):
            cost = to_decimal(tokens * units) if units is not None else Decimal(0)
            left -= cost
            usage = _usage(line, meter, tokens)
            yield frame | usage | _priced(tokens, units, terms) | _costs(cost, terms) | counted
            # Of the whole line, so that sums over rows are right.
            counted = dict.fromkeys(counted, 0)
        if left:
            about = f"Prices that changed, and corrections, model {line.model}"
            yield frame | counted | _adjustment("Adjustment", about) | _costs(left, terms)
        if figures.credit:
            category = "Credit" if figures.credit < 0 else "Adjustment"
            row = frame | counted | _adjustment(category, "Money alone, by staff")
            yield row | _billed(figures.credit) | {"x_Cost": Decimal(0)}


def _meters(line: Line, rates: Rates | None) -> Iterator[tuple[str, int, int | None]]:
    """Each kind of token that there is, its number, and what one costs in ledger units. One at
    least, unless the line is of money alone.
    """
    f = line.figures
    plain = f.input_tokens - f.cached_tokens - f.cache_write_tokens
    meters = (
        ("Input Tokens", plain, rates.input if rates else None),
        ("Cache Read Tokens", f.cached_tokens, rates.cached_input if rates else None),
        ("Cache Write Tokens", f.cache_write_tokens, rates.cache_write if rates else None),
        ("Output Tokens", f.output_tokens, rates.output if rates else None),
    )
    found = [meter for meter in meters if meter[1]]
    yield from found or (meters[:1] if f.requests or f.attempts else ())


def _frame(line: Line, terms: Terms) -> dict[str, Value]:
    """What all rows of a line share."""
    day = line.day or date.min
    month, local = month_period(day, terms.timezone), day_period(day, terms.timezone)
    row: dict[str, Value] = dict.fromkeys(COLUMNS)
    return row | {
        "BillingAccountId": ISSUER.lower(),
        "BillingAccountName": ISSUER,
        "BillingAccountType": "Gateway",
        "BillingCurrency": terms.currency,
        "BillingPeriodStart": _second(month.starts_at),
        "BillingPeriodEnd": _second(month.ends_at),
        "ChargePeriodStart": _second(local.starts_at),
        "ChargePeriodEnd": _second(local.ends_at),
        "InvoiceIssuerName": ISSUER,
        "ProviderName": ISSUER,
        "PublisherName": ISSUER,
        "ResourceId": f"key-{line.key_id}" if line.key_id else None,
        "ResourceName": line.key if line.key_id else None,
        "ResourceType": "API key" if line.key_id else None,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": "AI gateway",
        "SubAccountId": line.tenant,
        "SubAccountName": line.tenant_name,
        "SubAccountType": "Tenant",
        "Tags": json.dumps({"cost_center": line.cost_center} if line.cost_center else {}),
        "x_CostCenter": line.cost_center or None,
        "x_Team": line.team or None,
        "x_TotalTokens": 0,
    }


def _usage(line: Line, meter: str, tokens: int) -> dict[str, Value]:
    return {
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"{meter.lower()}, model {line.model}",
        "ConsumedQuantity": tokens,
        "ConsumedUnit": TOKENS,
        "SkuId": line.model,
        "SkuMeter": meter,
        "x_TotalTokens": tokens,
    }


def _priced(tokens: int, units: int | None, terms: Terms) -> dict[str, Value]:
    """The prices of one token; nothing where none is known."""
    if units is None or terms.rates is None:
        return {}
    price = to_decimal(units)
    return {
        "ListUnitPrice": price,
        "ContractedUnitPrice": price * terms.factor,
        "PricingCategory": "Standard",
        "PricingQuantity": tokens,
        "PricingUnit": TOKENS,
        "SkuPriceId": f"price-{terms.rates.price_id}",
    }


def _adjustment(category: str, about: str) -> dict[str, Value]:
    return {
        "ChargeCategory": category,
        "ChargeFrequency": "One-Time",
        "ChargeDescription": about,
    }


def _costs(cost: Decimal, terms: Terms) -> dict[str, Value]:
    return _billed(cost * terms.factor) | {"ListCost": cost, "x_Cost": cost}


def _billed(price: Decimal) -> dict[str, Value]:
    names = ("BilledCost", "EffectiveCost", "ContractedCost", "ListCost")
    return dict.fromkeys(names, price)


def _second(moment: datetime) -> str:
    return instant(moment.replace(microsecond=0))
