"""A month of usage as a FOCUS 1.2 CSV: reads lines, prices and margins, and writes `focus` rows. No
HTTP.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.conf import settings

from tenants_app.models import Tenant
from usage_app import selectors
from usage_app.models import Margin, Price
from usage_app.periods import day_period
from usage_app.pricing import Rates, rates_of
from usage_app.reports import files as report_files
from usage_app.reports import focus
from usage_app.reports.focus import COLUMNS, Terms, Value
from usage_app.reports.lines import Line
from usage_app.reports.query import ReportQuery
from usage_app.snapshot import snapshot

GROUPS: Final = ("day", "tenant_id", "cost_center", "api_key_id", "model")


def focus_chunks(query: ReportQuery, tenant: Tenant | None = None) -> Iterator[str]:
    """The report's days in pieces of FOCUS CSV, whatever it is grouped by; its sums are the page's.

    It is sent while it is read, as of one moment: margins and lines are of one snapshot.
    """
    with snapshot():
        book = Book()
        lines = selectors.report_lines(query, tenant, groups=GROUPS, histograms=False)
    rows = (row for line in lines for row in focus.rows(line, book.terms_of(line)))
    return report_files.written(COLUMNS, ([_cell(row[name]) for name in COLUMNS] for row in rows))


class Book:
    """What lines must know besides: time zones, prices and margins, read once."""

    def __init__(self) -> None:
        self.timezones = dict(Tenant.objects.values_list("pk", "timezone"))
        self.margins: dict[int, list[tuple[date, Decimal]]] = defaultdict(list)
        for margin in Margin.objects.order_by("valid_from"):
            self.margins[margin.tenant_id].append((margin.valid_from, margin.percent))
        self.prices: dict[str, list[tuple[datetime, Rates]]] = defaultdict(list)
        for price in Price.objects.select_related("model").order_by("valid_from"):
            rates = rates_of(
                price_id=price.pk,
                input=price.input,
                cached_input=price.cached_input,
                cache_write=price.cache_write,
                output=price.output,
            )
            self.prices[price.model.public_id].append((price.valid_from, rates))

    def terms_of(self, line: Line) -> Terms:
        """The terms of a line that has a day and a tenant."""
        assert line.day is not None  # noqa: S101 - of these groups
        assert line.tenant_id is not None  # noqa: S101
        timezone = self.timezones[line.tenant_id]
        period = day_period(line.day, timezone)
        rates = None
        if not line.figures.unpriced_tokens:
            prices = self.prices.get(str(line.model), [])
            rates = _at(prices, period.starts_at) or _at(prices, period.ends_at)
        percent = _at(self.margins.get(line.tenant_id, []), line.day)
        return Terms(timezone, settings.LEDGER_CURRENCY, rates, percent or Decimal(0))


def _at(steps: list[tuple[Any, Any]], when: Any) -> Any:
    """The value of the last step that is not after `when`, or None."""
    place = bisect_right(steps, when, key=lambda step: step[0])
    return steps[place - 1][1] if place else None


def _cell(value: Value) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return report_files.cell(value) if isinstance(value, str) else value
