"""The statements that close a month: what locks it, what stands against it, and its entries as text
and as digests. Text only; `closing` and `statement_files` run it.

An entry's line in the export is made here and nowhere else: its bytes are what a digest is of.
"""

_UTC = "to_char(e.{0} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
# Quoted whole. What a spreadsheet would run as a formula gets an apostrophe in front, and so does
# what begins with one, so that it can be told apart.
_TEXT = """'"' || CASE WHEN e.{0} ~ '^[''=+@\\t\\r-]' THEN '''' ELSE '' END
    || replace(e.{0}, '"', '""') || '"'"""
_PLAIN = "e.{0}::text"
_COLUMNS = {
    "local_day": "to_char(e.{0}, 'YYYY-MM-DD')",
    "id": _PLAIN,
    "kind": _PLAIN,
    "created_at": _UTC,
    "settled_at": _UTC,
    "corrects": _PLAIN,
    "trace_id": _TEXT,
    "api_key_id": _PLAIN,
    "cost_center": _TEXT,
    "model": _TEXT,
    "model_reason": _TEXT,
    "upstream": _TEXT,
    "upstream_reference": _TEXT,
    "price_id": _PLAIN,
    "stream": _PLAIN,
    "input_tokens": _PLAIN,
    "cached_tokens": _PLAIN,
    "cache_write_tokens": _PLAIN,
    "output_tokens": _PLAIN,
    "reasoning_tokens": _PLAIN,
    "total_tokens": _PLAIN,
    "held_tokens": _PLAIN,
    "overrun_tokens": _PLAIN,
    "cost": _PLAIN,
    "credit": _PLAIN,
    "usage_source": _PLAIN,
    "outcome": _PLAIN,
    "error_code": _TEXT,
    "ttft_ms": _PLAIN,
    "latency_ms": _PLAIN,
    "reason": _TEXT,
    "author": _TEXT,
}
HEADER = ",".join(_COLUMNS)
_FIELDS = ",\n".join(form.format(name) for name, form in _COLUMNS.items())
_LINE = f"array_to_string(ARRAY[{_FIELDS}], ',', '')"

_MONTH = "e.tenant_id = %(tenant_id)s AND e.local_day >= %(month)s AND e.local_day < %(next_month)s"

# Whoever admits, settles or expires a request of the month holds this row until it has committed.
LOCK_WINDOW = """
SELECT 1 FROM usage_app_usagewindow
WHERE tenant_id = %(tenant_id)s AND api_key_id IS NULL AND team_id IS NULL
    AND period = 'month' AND starts_at = %(starts_at)s
ORDER BY id FOR NO KEY UPDATE
"""

# Corrections, credits, late settlements and margins of the tenant ask for it, too: migration 0010.
LOCK_MONTHS = """
SELECT pg_advisory_xact_lock(hashtextextended('usage_app.months ' || %(tenant_id)s::bigint, 0))
"""

CLOCK = "SELECT clock_timestamp()"

OPEN_HOLDS = f"""
SELECT count(*), min(e.created_at) FROM usage_app_reservation e WHERE {_MONTH}
"""

# The first day with entries after the last closed month and before this one.
EARLIER = """
SELECT min(e.local_day) FROM usage_app_ledgerentry e
WHERE e.tenant_id = %(tenant_id)s AND e.local_day < %(month)s
    AND e.local_day >= %(open_from)s
"""

BEHIND = f"""
SELECT count(DISTINCT e.local_day) FROM usage_app_ledgerentry e
WHERE {_MONTH} AND e.settled_at >= %(since)s::timestamptz
"""

# Each day of the month that has entries, with its margin and the digest of its lines: SHA-256 over
# the SHA-256 of every line, in the order of the export.
DAYS = f"""
SELECT d.*, coalesce((
    SELECT m.percent FROM usage_app_margin m
    WHERE m.tenant_id = %(tenant_id)s AND m.valid_from <= d.local_day
    ORDER BY m.valid_from DESC LIMIT 1), 0)
FROM (
    SELECT e.local_day, count(*), coalesce(sum(e.cost), 0), coalesce(sum(e.credit), 0),
        encode(sha256(string_agg(
            sha256(convert_to({_LINE}, 'UTF8')), ''::bytea ORDER BY e.id, e.created_at)), 'hex')
    FROM usage_app_ledgerentry e WHERE {_MONTH} GROUP BY e.local_day
) d ORDER BY d.local_day
"""

COUNT = f"SELECT count(*) FROM usage_app_ledgerentry e WHERE {_MONTH}"

# A page of the export, from behind the last line of the page before.
LINES = f"""
SELECT e.local_day, e.id, e.created_at, {_LINE} FROM usage_app_ledgerentry e
WHERE {_MONTH} AND e.local_day >= %(day)s
    AND (e.local_day, e.id, e.created_at) > (%(day)s, %(id)s, %(created_at)s)
ORDER BY e.local_day, e.id, e.created_at LIMIT %(limit)s
"""

# Months that are over where the tenant is, have roll-ups, and come after its last statement.
WAITING = """
SELECT t.id, t.slug, t.name, m.month
FROM (SELECT DISTINCT tenant_id, month FROM usage_app_monthlyusage) m
JOIN tenants_app_tenant t ON t.id = m.tenant_id
LEFT JOIN (
    SELECT tenant_id, max(month) AS month FROM usage_app_statement GROUP BY tenant_id
) s ON s.tenant_id = m.tenant_id
WHERE (s.month IS NULL OR m.month > s.month)
    AND (m.month + interval '1 month') AT TIME ZONE t.timezone
        <= clock_timestamp() - make_interval(days => %(days)s)
ORDER BY m.month, t.slug LIMIT %(most)s
"""
