"""The books' pages in the admin: prices are kept there, all else is read-only."""

from usage_app.admin import (
    alerts,
    bills,
    books,
    ledger,
    prices,
    raises,
    reconciliation,
    rollups,
    statements,
    tokens,
)

__all__ = [
    "alerts",
    "bills",
    "books",
    "ledger",
    "prices",
    "raises",
    "reconciliation",
    "rollups",
    "statements",
    "tokens",
]
