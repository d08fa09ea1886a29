"""What the columns of the books share."""

from typing import Any

MONEY: dict[str, Any] = {"max_digits": 24, "decimal_places": 10}
# A cost of 10 places times a margin of 6.
EXACT_PRICE: dict[str, Any] = {"max_digits": 36, "decimal_places": 16}
# Providers write more places than the books keep.
BILLED: dict[str, Any] = {"max_digits": 34, "decimal_places": 20}
