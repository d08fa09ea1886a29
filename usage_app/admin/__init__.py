"""The books' pages in the admin. Entries, windows and roll-ups are looked at; what staff adds to
the books goes through pages of its own: prices, margins, raises, corrections, bills, statements,
tokens.
"""

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
