"""Money and tokens are whole numbers and decimals, from the column to the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.architecture.sources import ROOT, parse, product_files, short

# What a binary fraction may be: a time, a share of a whole, a place in a picture. Never an amount.
MAY_HAVE_FLOATS = {
    "usage_app/alerts/wire.py": "seconds",
    "usage_app/figures.py": "shares",
    "usage_app/group_commit.py": "seconds",
    "usage_app/histograms.py": "percentiles of milliseconds",
    "usage_app/ledger.py": "seconds",
    "usage_app/management/progress.py": "seconds",
    "usage_app/reports/lines.py": "percentiles of milliseconds",
    "usage_app/reports/page.py": "shares",
    "tenants_app/admin/history.py": "what JSON made of a decimal, told as one",
    "tenants_app/database.py": "seconds",
    "tenants_app/key_uses.py": "seconds",
}
FLOATS_IN_SQL = re.compile(r"(::|\bAS )(float[48]?|double precision|real)\b", re.IGNORECASE)


def floats(path: Path) -> Iterator[int]:
    """The lines that have to do with binary fractions."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Name | ast.Attribute):
            if ast.unparse(node).rpartition(".")[2] in ("float", "FloatField"):
                yield node.lineno
        elif isinstance(node, ast.Constant) and (
            isinstance(node.value, float)
            or (isinstance(node.value, str) and FLOATS_IN_SQL.search(node.value))
        ):
            yield node.lineno


def test_books_are_kept_without_floats() -> None:
    found = {
        f"{short(path)}:{line}"
        for path in product_files()
        if short(path).startswith(("usage_app/", "tenants_app/"))
        and short(path) not in MAY_HAVE_FLOATS
        for line in floats(path)
    }
    assert found == set()


def test_every_exception_still_is_one() -> None:
    assert [name for name in MAY_HAVE_FLOATS if not list(floats(ROOT / name))] == []


@pytest.mark.django_db
def test_no_column_of_the_books_is_a_float() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name || '.' || column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type IN ('real', 'double precision')"
            " AND (table_name LIKE 'usage_app%' OR table_name LIKE 'tenants_app%')"
        )
        assert cursor.fetchall() == []
