"""What the columns of the books share."""

from typing import Any

MONEY: dict[str, Any] = {"max_digits": 24, "decimal_places": 10}
