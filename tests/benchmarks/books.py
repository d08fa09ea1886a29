"""`./dev bench books`: a year of entries in the books: how long roll-ups, reports and `reconcile`
take.

The entries are made in SQL, in a throw-away Postgres (fsync off): 25 tenants in five time zones,
four keys and five models each, busy for 14 hours a day, the busiest tenant with a fifth of the
traffic.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from gateway_project.embedded import home
from gateway_project.embedded.account import Account, place_for
from gateway_project.embedded.postgres import Postgres

TENANTS, KEYS, MODELS = 25, 4, 5
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")
DAYS = 365
FILLERS = 3
REPORTS: tuple[tuple[str, ...], ...] = (
    ("tenant_id",),
    ("model",),
    ("day",),
    ("tenant_id", "cost_center", "model"),
)

# Skewed by squaring a random number: the first tenants, keys and models have the most.
FILL = """
INSERT INTO usage_app_ledgerentry (id, created_at, local_day, tenant_id, api_key_id, trace_id,
    cost_center, model, model_reason, upstream, price_id, stream, user_hash, metadata, held_tokens,
    kind, corrects, reason, author, attempts, input_tokens, cached_tokens, cache_write_tokens,
    output_tokens, reasoning_tokens, total_tokens, overrun_tokens, cost, credit, usage_source,
    outcome, error_code, ttft_ms, latency_ms, upstream_reference, settled_at)
SELECT gen_random_uuid(), n.at, (n.at AT TIME ZONE t.timezone)::date, t.id, k.keys[n.key],
    n.number::text, 'team ' || n.key %% 2, 'model-' || n.model, 'tenant', 'bench', NULL, true, '',
    '{}', n.tokens_in + 500, 'usage', NULL, '', '', '[{"upstream": "bench", "outcome": "ok"}]',
    n.tokens_in, n.tokens_in / 4, 0, n.tokens_out, 0, n.tokens_in + n.tokens_out, 0,
    CASE WHEN n.model < 5 THEN (n.tokens_in * 0.15 + n.tokens_out * 0.6) * 0.000001 END, NULL,
    CASE WHEN n.luck < 0.03 THEN 'estimated' ELSE 'provider' END,
    CASE WHEN n.luck > 0.98 THEN 'error' WHEN n.luck > 0.97 THEN 'aborted' ELSE 'ok' END, '',
    n.latency / 4, n.latency, '', n.at + n.latency * interval '1 millisecond'
FROM (
    SELECT i AS number, %(day)s::timestamptz + i * interval '14 hours' / %(entries)s AS at,
        1 + floor(power(random(), 2) * %(tenants)s)::int AS tenant,
        1 + floor(power(random(), 2) * %(keys)s)::int AS key,
        1 + floor(power(random(), 2) * %(models)s)::int AS model,
        floor(random() * 4000)::int AS tokens_in, floor(random() * 800)::int AS tokens_out,
        floor(100 * exp(random() * 4))::int AS latency, random() AS luck
    FROM generate_series(0, %(entries)s - 1) AS i
    OFFSET 0
) n
JOIN (SELECT *, row_number() OVER (ORDER BY id) AS place FROM tenants_app_tenant) t
    ON t.place = n.tenant
JOIN (SELECT tenant_id, array_agg(id ORDER BY id) AS keys FROM tenants_app_apikey
    GROUP BY tenant_id) k ON k.tenant_id = t.id
"""

WINDOWS = """
INSERT INTO usage_app_usagewindow
    (tenant_id, api_key_id, period, starts_at, ends_at, requests, tokens, cost)
SELECT e.tenant_id, e.api_key_id, p.period,
    date_trunc(p.period, e.local_day::timestamp) AT TIME ZONE t.timezone,
    (date_trunc(p.period, e.local_day::timestamp) + ('1 ' || p.period)::interval)
        AT TIME ZONE t.timezone,
    sum(e.requests), sum(e.tokens), sum(e.cost)
FROM (
    SELECT tenant_id, api_key_id, local_day, count(*) AS requests, sum(total_tokens) AS tokens,
        sum(coalesce(cost, 0)) AS cost
    FROM usage_app_ledgerentry GROUP BY GROUPING SETS
        ((tenant_id, local_day), (tenant_id, api_key_id, local_day))
) e
JOIN tenants_app_tenant t ON t.id = e.tenant_id
CROSS JOIN (VALUES ('day'), ('month')) AS p(period)
GROUP BY 1, 2, 3, 4, 5
"""


def main(arguments: list[str]) -> None:
    """Make the books, and print how long everything takes."""
    parser = argparse.ArgumentParser(prog="./dev bench books", description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000, help="over a year")
    options = parser.parse_args(arguments)
    place = Path(os.environ.get("TOLLGATE_HOME") or home.home()) / "bench-books"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    os.environ |= {"TOLLGATE_HOME": str(place), "LOG_FORMAT": "json"}
    home.prepare_environment(place)
    server = Postgres(place_for(place / "postgres", Account.current()), throw_away=True)
    server.start()
    try:
        os.environ["DATABASE_URL"] = server.url()
        os.environ["DJANGO_SETTINGS_MODULE"] = "gateway_project.settings"
        measure(options.entries)
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


def measure(entries: int) -> None:
    """Fill the books, then: roll up, report, open the front page, reconcile."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    first = fill(entries)

    from usage_app import reconciliation, rollups

    told("roll up everything", lambda: rollups.roll_up_new(margin=timedelta(0)))
    told("roll up when nothing is new", rollups.roll_up_new)
    statement("VACUUM (ANALYZE)")
    reports(first)
    front_page()
    run: Any = told("reconcile everything", lambda: reconciliation.run(author="benchmark"))
    say(f"{run}: {run.entries} entries, {run.rollups} roll-up rows, {run.windows} windows")


def fill(entries: int) -> date:
    """A year of entries, up to yesterday, and the windows that they moved; answers with its first
    day.
    """
    from usage_app import partitions

    first = datetime.now(UTC).date() - timedelta(days=DAYS)
    make_tenants()
    partitions.make_ahead(first)
    counts = {"tenants": TENANTS, "keys": KEYS, "models": MODELS, "entries": entries // DAYS}
    began = time.monotonic()
    midnight = datetime.combine(first, datetime.min.time(), UTC)
    days = [{**counts, "day": midnight + timedelta(days=later)} for later in range(DAYS)]
    with without_indexes(), ThreadPoolExecutor(max_workers=FILLERS) as pool:
        # All of a worker's days on one connection, in the order in which they would have come.
        list(pool.map(fill_days, [days[number::FILLERS] for number in range(FILLERS)]))
    statement(WINDOWS)
    statement("VACUUM (ANALYZE)")
    say(f"{counts['entries'] * DAYS} entries made in {time.monotonic() - began:.0f} s")
    return first


def fill_days(days: list[dict[str, Any]]) -> None:
    """The entries of some days."""
    from django.db import connection

    for day in days:
        statement(FILL, day)
    connection.close()


@contextlib.contextmanager
def without_indexes() -> Iterator[None]:
    """The ledger's indexes are gone meanwhile, and made anew: ten million rows are filled in a
    fraction of the time.
    """
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, replace(indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes"
            " WHERE tablename = 'usage_app_ledgerentry' AND indexname <> 'entry_key'"
        )
        indexes = cursor.fetchall()
    for name, _ in indexes:
        statement(f"DROP INDEX {name}")
    statement("ALTER TABLE usage_app_ledgerentry DROP CONSTRAINT entry_key")
    yield
    statement("SET maintenance_work_mem = '512MB'")
    statement(
        "ALTER TABLE usage_app_ledgerentry ADD CONSTRAINT entry_key PRIMARY KEY (id, created_at)"
    )
    for _, definition in indexes:
        statement(definition)


def make_tenants() -> None:
    """Tenants and their keys."""
    from tenants_app import keys
    from tenants_app.models import Tenant
    from usage_app.models import Margin

    for number in range(TENANTS):
        tenant = Tenant.objects.create(
            slug=f"tenant-{number}", name="Bench", timezone=ZONES[number % len(ZONES)]
        )
        for key in range(KEYS):
            keys.issue(tenant, name=f"key-{key}")
        Margin.objects.create(tenant=tenant, valid_from=date(2026, 1, 1), percent="12.5")


def reports(first: date) -> None:
    """What pages ask for, as they ask for it: `selectors.usage`, a month and all of the year."""
    from tenants_app.models import Tenant
    from usage_app import selectors
    from usage_app.figures import Span

    last = first + timedelta(days=DAYS)
    month = Span.month(last - timedelta(days=40))
    busiest = Tenant.objects.order_by("pk")[0]
    for name, span in (("a month", month), ("twelve months", Span(first, last))):
        for groups in REPORTS:
            label = f"usage of {name} by {', '.join(groups)}"
            median(label, partial(selectors.usage, groups, span))
        label = f"usage of {name} of one tenant by api_key_id, model"
        median(label, partial(selectors.usage, ("api_key_id", "model"), span, tenant=busiest))


def front_page() -> None:
    """What the admin's front page asks, card by card, and all of it."""
    from usage_app import selectors
    from usage_app.overview import books, month, nearly_full, today, trends
    from usage_app.overview.look import Look

    look = Look(selectors.clock(), rolled_up_to=selectors.rolled_up_to())
    parts: dict[str, Callable[[], Any]] = {
        "windows of now": partial(today.live, look),
        "errors and latencies": partial(today.rates, look),
        "refusals": lambda: (today.refusals(look), today.refused(look, 6)),
        "30 days": partial(trends.days, look),
        "24 hours": partial(trends.hours, look),
        "budgets nearly full": partial(nearly_full.nearly_full, look, 10),
        "the month by tenant": partial(month.by_tenant, look, 6),
        "months to close": partial(month.to_close, 6),
        "comparison and holds": lambda: (books.compared(look), books.holds(look)),
    }
    for name, work in parts.items():
        median(f"front page, {name}", partial(_only, work))
    median("front page, all of these", lambda: [work() for work in parts.values()])


def _only(work: Callable[[], Any]) -> list[Any]:
    return [work()]


def median(label: str, work: Callable[[], list[Any]], times: int = 5) -> None:
    """The median of some runs."""
    spent = []
    for _ in range(times):
        began = time.monotonic()
        rows = len(work())
        spent.append(time.monotonic() - began)
    say(f"{label}: {statistics.median(spent) * 1000:.0f} ms, {rows} rows")


def told(label: str, work: Callable[[], Any]) -> Any:
    """Do something long once, and say how long it took."""
    began = time.monotonic()
    answer = work()
    say(f"{label}: {time.monotonic() - began:.1f} s ({answer})")
    return answer


def statement(sql: str, params: dict[str, Any] | None = None) -> None:
    """Run one statement."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def say(line: str) -> None:
    """A line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
