"""The usage report as files: the lines that the page shows, all of them, with the same sums to the
last digit. No HTTP.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from typing import Any

from django.conf import settings

from tenants_app.models import Tenant
from usage_app import selectors
from usage_app.histograms import Between
from usage_app.reports.lines import Line
from usage_app.reports.query import ReportQuery

ROWS_A_CHUNK = 500
# A spreadsheet would run a cell that begins so as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
NAMES = (
    *("from", "to", "day", "tenant", "tenant_name", "cost_center"),
    *("team", "team_name", "key_id", "key", "model"),
)
COUNTS = (
    *("requests", "errors", "aborted", "expired", "attempts"),
    *("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning"),
    *("tokens_total", "tokens_estimated", "tokens_unpriced", "requests_unpriced"),
)
MONEY = ("cost", "credit", "price")
COLUMNS = (
    *(*NAMES, *COUNTS, *MONEY, "currency", "refusals"),
    *("latency_p50_below_ms", "latency_p95_below_ms", "ttft_p50_below_ms", "ttft_p95_below_ms"),
)


def csv_chunks(query: ReportQuery, tenant: Tenant | None = None) -> Iterator[str]:
    """The report as CSV in pieces: a line for each of the page's rows, and no line of totals. It is
    as of one moment; what could fail has been asked before the first piece is out.
    """
    lines = selectors.report_lines(query, tenant)
    return written(COLUMNS, (cells(query, line) for line in lines))


def cells(
    query: ReportQuery, line: Line, *, as_text: Callable[[str], str] | None = None
) -> tuple[Any, ...]:
    """A line as the cells of a file; names as `as_text` makes them, which no spreadsheet takes for
    formulas unless told. A name is None where the report is not by it.
    """
    safe = as_text or cell
    figures, span = line.figures, query.span
    cost, price = figures.known_cost, figures.known_price
    whose = (line.tenant, line.tenant_name, line.cost_center, line.team, line.team_name)
    texts = (*whose, line.key_id, line.key, line.model)
    names = (safe(name) if isinstance(name, str) else name for name in texts)
    return (
        *(f"{span.first}", f"{span.last}", line.day and f"{line.day}", *names),
        *(figures.requests, figures.errors, figures.aborted, figures.expired, figures.attempts),
        *(figures.input_tokens, figures.cached_tokens, figures.cache_write_tokens),
        *(figures.output_tokens, figures.reasoning_tokens, figures.total_tokens),
        *(figures.estimated_tokens, figures.unpriced_tokens, figures.unpriced_requests),
        *(None if cost is None else f"{cost:.10f}", f"{figures.credit:.10f}"),
        *(None if price is None else f"{price:.16f}", settings.LEDGER_CURRENCY, line.refusals),
        *(_below(line.latency_at(50)), _below(line.latency_at(95))),
        *(_below(line.ttft_at(50)), _below(line.ttft_at(95))),
    )


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def written(columns: Iterable[str], lines: Iterable[Iterable[Any]]) -> Iterator[str]:
    """CSV in pieces of some hundred lines."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for number, line in enumerate(lines, start=1):
        writer.writerow(line)
        if number % ROWS_A_CHUNK == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _below(between: Between | None) -> int | None:
    return None if between is None else between.below_ms
