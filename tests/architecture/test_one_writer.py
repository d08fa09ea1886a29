"""Only the ledger's own modules write entries, holds and windows."""

from __future__ import annotations

import re

from tests.architecture.sources import product_files, short
from tests.architecture.test_one_way_out import imported

TABLES = "usage_app_(?:ledgerentry|reservation|usagewindow)"
WRITES = re.compile(rf"(?:INSERT INTO|UPDATE|DELETE FROM)\s+{TABLES}\b")
ORM = re.compile(
    r"\b(?:LedgerEntry|Reservation|UsageWindow)"
    r"(?:\(|\.objects\b[^\n]*\.(?:create|bulk_create|update|delete|get_or_create)\()"
)
STATEMENTS = {"usage_app/correction_sql.py", "usage_app/ledger_sql.py"}
WRITERS = {
    "usage_app/correction_sql.py",
    "usage_app/ledger.py",
    "usage_app/ledger_batches.py",
    "usage_app/ledger_corrections.py",
    "usage_app/ledger_sync.py",
    # Makes windows and buckets ahead of the locks.
    "usage_app/scopes.py",
}


def sources() -> dict[str, str]:
    return {
        short(path): path.read_text()
        for path in product_files()
        if "/migrations/" not in short(path) and not short(path).startswith("usage_app/models/")
    }


def test_only_these_have_statements_that_write_the_books() -> None:
    assert {name for name, text in sources().items() if WRITES.search(text)} == STATEMENTS
    assert [name for name, text in sources().items() if ORM.search(text)] == []


def test_only_the_ledgers_own_modules_run_them() -> None:
    modules = {"usage_app.ledger_sql", "usage_app.correction_sql"}
    assert {short(path) for path in product_files() if modules & imported(path)} <= WRITERS
