"""Some weeks of requests in the books, made in SQL: the same shape whenever they are made."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from tests.benchmarks.books import WINDOWS
from usage_app import partitions, rollups

# Busy by day and quiet at night; the first keys and models have the most. Fixed by `seed`.
FILL = """
WITH luck AS MATERIALIZED (
    SELECT day::date AS day, number, random() AS hour, random() AS key, random() AS model,
        random() AS size, random() AS speed, random() AS fate
    FROM generate_series(%(first)s::date, %(last)s::date, '1 day') AS day,
        generate_series(1, %(most)s) AS number
), requests AS (
    SELECT luck.*, tenant.id AS tenant_id, tenant.cost_center,
        (day + interval '7 hours' + (hour + power(size, 2)) * interval '6 hours')
            AT TIME ZONE tenant.timezone AS at,
        1 + floor(power(key, 2) * cardinality(%(keys)s::bigint[]))::int AS key_number,
        1 + floor(power(model, 2) * cardinality(%(models)s::text[]))::int AS model_number,
        (200 + 2600 * power(size, 3))::int AS tokens_in, (40 + 500 * speed)::int AS tokens_out,
        (180 * exp(speed * 3.2))::int AS latency
    FROM luck JOIN tenants_app_tenant AS tenant ON tenant.id = %(tenant)s
    -- More from week to week, and less at its end.
    WHERE number <= %(most)s * (0.45 + 0.5 * (day - %(first)s::date)
        / (1 + %(last)s::date - %(first)s::date)) * (CASE WHEN (day - %(first)s::date) %% 7 > 4
        THEN 0.35 ELSE 0.8 + 0.2 * sin(day - %(first)s::date) END)
)
INSERT INTO usage_app_ledgerentry (id, created_at, local_day, tenant_id, api_key_id, trace_id,
    cost_center, model, model_reason, upstream, price_id, stream, user_hash, metadata, held_tokens,
    kind, corrects, reason, author, attempts, input_tokens, cached_tokens, cache_write_tokens,
    output_tokens, reasoning_tokens, total_tokens, overrun_tokens, cost, credit, usage_source,
    outcome, error_code, ttft_ms, latency_ms, upstream_reference, settled_at)
SELECT gen_random_uuid(), at, day, tenant_id,
    (%(keys)s::bigint[])[key_number], md5(number::text || day), cost_center,
    (%(models)s::text[])[model_number], CASE WHEN fate < 0.3 THEN 'request' ELSE 'tenant' END,
    %(upstream)s, price.id, fate > 0.4, '', '{}', tokens_in * 3 + 1024, 'usage', NULL, '', '',
    jsonb_build_array(jsonb_build_object('upstream', %(upstream)s::text, 'outcome',
        CASE WHEN fate > 0.985 THEN 'timeout' ELSE 'ok' END, 'latency_ms', latency)),
    tokens_in, tokens_in / 4, 0, tokens_out, 0, tokens_in + tokens_out, 0,
    round(((tokens_in - tokens_in / 4) * price.input + tokens_in / 4 * coalesce(
        price.cached_input, price.input) + tokens_out * price.output) / 1000000, 10), NULL,
    CASE WHEN fate > 0.97 THEN 'estimated' ELSE 'provider' END,
    CASE WHEN fate > 0.985 THEN 'error' WHEN fate > 0.975 THEN 'aborted' ELSE 'ok' END,
    CASE WHEN fate > 0.985 THEN 'upstream_timeout' ELSE '' END,
    CASE WHEN fate > 0.4 THEN latency / 5 END, latency, '', at + latency * interval '1 ms'
FROM requests
JOIN tenants_app_model AS model ON model.public_id = (%(models)s::text[])[model_number]
LEFT JOIN usage_app_price AS price ON price.model_id = model.id
WHERE at < now() - interval '2 minutes'
"""

# A team's windows count what its keys' do.
WINDOWS_OF_TEAMS = """
INSERT INTO usage_app_usagewindow
    (tenant_id, team_id, period, starts_at, ends_at, requests, tokens, cost)
SELECT w.tenant_id, key.team_id, w.period, w.starts_at, w.ends_at,
    sum(w.requests), sum(w.tokens), sum(w.cost)
FROM usage_app_usagewindow w JOIN tenants_app_apikey key ON key.id = w.api_key_id
WHERE key.team_id IS NOT NULL GROUP BY 1, 2, 3, 4, 5
"""

ZONES = (
    "America/Los_Angeles",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Pacific/Auckland",
)


def zone() -> str:
    """Where it is afternoon: whenever pictures are made, today has something to show."""
    return min(ZONES, key=lambda name: abs(datetime.now(ZoneInfo(name)).hour - 16))


def today() -> date:
    """The day it is there."""
    return datetime.now(ZoneInfo(zone())).date()


def first_day() -> date:
    """The beginning of last month: so a whole month can be closed."""
    return (today().replace(day=1) - timedelta(days=1)).replace(day=1)


def fill(tenant: Any, keys: list[Any], models: list[str], *, upstream: str, most: int) -> None:
    """A tenant's requests since the beginning of last month, up to `most` a day."""
    values = {
        "first": first_day(),
        "last": today(),
        "tenant": tenant.pk,
        "keys": [key.pk for key in keys],
        "models": models,
        "upstream": upstream,
        "most": most,
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.42)")
        cursor.execute(FILL, values)


def make_ahead() -> None:
    """Room in the books for all of it; a local day may begin in the month before."""
    partitions.make_ahead(first_day() - timedelta(days=1))


def add_up() -> None:
    """What the requests moved: windows and roll-ups."""
    with connection.cursor() as cursor:
        cursor.execute(WINDOWS)
        cursor.execute(WINDOWS_OF_TEAMS)
        cursor.execute("ANALYZE")
    rollups.roll_up_new(margin=timedelta(0))
