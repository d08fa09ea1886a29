"""The usage report of a month as tables and as CSV; both are the same sums. No HTTP."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from typing import Any

from django.conf import settings

from tenants_app.models import ApiKey, Tenant
from usage_app import selectors
from usage_app.figures import Figures, Span, total

WITHOUT_KEY = "without a key"
ROWS_A_CHUNK = 500
# A spreadsheet would run a cell that begins so as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
CSV_COLUMNS = (
    *("month", "tenant", "tenant_name", "key_id", "key", "model"),
    *("requests", "errors", "aborted", "expired", "attempts"),
    *("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning"),
    *("tokens_total", "tokens_estimated", "tokens_unpriced", "requests_unpriced"),
    *("cost", "credit", "price", "currency"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    name: str
    figures: Figures
    title: str = ""
    tenant: str = ""

    @property
    def cost(self) -> tuple[str, str] | None:
        """The exact cost as what is read and the zeros after it; None when it is not known."""
        cost = self.figures.known_cost
        return None if cost is None else _split_zeros(f"{cost:,.10f}")

    @property
    def estimated(self) -> str:
        return _percent(self.figures.estimated_share)

    @property
    def unpriced(self) -> str:
        return _percent(self.figures.unpriced_share)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one kind and their sum."""

    heading: str
    rows: list[Row]

    @property
    def total(self) -> Row:
        return Row("Total", total(row.figures for row in self.rows))


def by_tenant(span: Span) -> Table:
    """A row for each tenant with usage, by slug."""
    tenants = Tenant.objects.in_bulk()
    rows = [
        Row(tenants[group[0]].slug, figures, tenants[group[0]].name, tenants[group[0]].slug)
        for group, figures in selectors.usage(("tenant_id",), span)
    ]
    return Table("Tenant", sorted(rows, key=lambda row: row.name))


def of_tenant(tenant: Tenant, span: Span) -> list[Table]:
    """The tenant's usage by model and by key."""
    keys = ApiKey.objects.for_tenant(tenant).in_bulk()
    models: dict[str, list[Figures]] = defaultdict(list)
    by_key: dict[int | None, list[Figures]] = defaultdict(list)
    for (key_id, model), figures in selectors.usage(("api_key_id", "model"), span, tenant=tenant):
        models[model].append(figures)
        by_key[key_id].append(figures)
    return [
        Table("Model", [Row(name, total(models[name])) for name in sorted(models)]),
        Table(
            "Key",
            sorted(
                (Row(key_name(keys, key_id), total(by_key[key_id])) for key_id in by_key),
                key=lambda row: row.name,
            ),
        ),
    ]


def key_name(keys: Mapping[int, ApiKey], key_id: int | None) -> str:
    """How a key is called, also one that is gone."""
    if key_id is None:
        return WITHOUT_KEY
    return str(keys.get(key_id) or f"key {key_id}")


def csv_chunks(span: Span, tenant: Tenant | None = None) -> Iterator[str]:
    """The month as CSV in pieces: a line for each tenant, key and model, and no line of totals. All
    of it is read before the first piece is out.
    """
    groups = ("tenant_id", "api_key_id", "model")
    rows = selectors.usage(groups, span, tenant=tenant)
    tenants = Tenant.objects.in_bulk() if tenant is None else {tenant.pk: tenant}
    keys = (ApiKey.objects.all() if tenant is None else ApiKey.objects.for_tenant(tenant)).in_bulk()

    def lines() -> Iterator[Iterable[Any]]:
        yield CSV_COLUMNS
        for (tenant_id, key_id, model), figures in rows:
            owner = tenants[tenant_id]
            texts = (owner.slug, owner.name, key_id, key_name(keys, key_id), model)
            yield (f"{span.first:%Y-%m}", *map(cell, texts), *_numbers(figures))

    return _written(lines())


def cell(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula; numbers stay what they are."""
    dangerous = isinstance(value, str) and value.startswith(FORMULA_STARTS)
    return f"'{value}" if dangerous else value


def _numbers(figures: Figures) -> tuple[Any, ...]:
    cost: Decimal | None = figures.known_cost
    return (
        *(figures.requests, figures.errors, figures.aborted, figures.expired, figures.attempts),
        *(figures.input_tokens, figures.cached_tokens, figures.cache_write_tokens),
        *(figures.output_tokens, figures.reasoning_tokens, figures.total_tokens),
        *(figures.estimated_tokens, figures.unpriced_tokens, figures.unpriced_requests),
        *("" if cost is None else f"{cost:.10f}", f"{figures.credit:.10f}"),
        *("" if cost is None else f"{figures.price:.16f}", settings.LEDGER_CURRENCY),
    )


def _written(lines: Iterator[Iterable[Any]]) -> Iterator[str]:
    text = StringIO()
    writer = csv.writer(text)
    for number, line in enumerate(lines, start=1):
        writer.writerow(line)
        if number % ROWS_A_CHUNK == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _split_zeros(amount: str) -> tuple[str, str]:
    """Everything up to the last digit that counts, two decimals at least, and the zeros behind."""
    whole, decimals = amount.split(".")
    shown = decimals.rstrip("0").ljust(2, "0")
    return f"{whole}.{shown}", decimals[len(shown) :]


def _percent(share: float) -> str:
    if not share:
        return ""
    return "< 0.1 %" if share < 0.001 else f"{share * 100:.1f} %"
