"""The books' pages in the admin: prices are kept there, all else is read-only."""

from usage_app.admin import books, prices, reconciliation, rollups, statements, tokens

__all__ = ["books", "prices", "reconciliation", "rollups", "statements", "tokens"]
