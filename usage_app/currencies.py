"""How many decimals a currency is paid in, by ISO 4217, and the rounding of statements. PURE."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Final

from usage_app.figures import MONEY_DIGITS

USUAL: Final = 2
# Every active code of ISO 4217 that differs, as of amendment 180.
MINOR_UNITS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def minor_unit(currency: str) -> int:
    """The decimals of the currency's smallest unit."""
    return MINOR_UNITS.get(currency, USUAL)


def rounded(amount: Decimal, decimals: int) -> Decimal:
    """The amount to so many decimals; what lies in the middle goes to the even neighbour, and what
    is left of less than nothing is nothing: the database keeps no sign of a zero.
    """
    with localcontext(prec=MONEY_DIGITS):
        return amount.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN) + 0
