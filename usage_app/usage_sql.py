"""The statements that add ledger entries up: for the roll-ups, and for reports on days that the
roll-ups do not hold yet. Text only; `rollups`, `selectors` and `own_usage` run it.

A usage entry counts as a request; tokens and cost are sums over every kind of entry, so that late
adjustments and corrections (which may be negative) are in.
"""

from collections.abc import Sequence

from usage_app.histograms import BOUNDS_MS, BUCKETS

_OF_ENTRIES = {
    "requests": "count(*) FILTER (WHERE e.kind = 'usage')",
    "errors": "count(*) FILTER (WHERE e.kind = 'usage' AND e.outcome = 'error')",
    "aborted": "count(*) FILTER (WHERE e.kind = 'usage' AND e.outcome = 'aborted')",
    "expired": "count(*) FILTER (WHERE e.kind = 'usage' AND e.outcome = 'expired')",
    # A late settlement tells the attempts of a request whose expired entry knows none.
    "attempts": "sum(CASE jsonb_typeof(e.attempts) WHEN 'array'"
    " THEN jsonb_array_length(e.attempts) ELSE 0 END)::bigint",
    "input_tokens": "sum(e.input_tokens)::bigint",
    "cached_tokens": "sum(e.cached_tokens)::bigint",
    "cache_write_tokens": "sum(e.cache_write_tokens)::bigint",
    "output_tokens": "sum(e.output_tokens)::bigint",
    "reasoning_tokens": "sum(e.reasoning_tokens)::bigint",
    "total_tokens": "sum(e.total_tokens)::bigint",
    "estimated_tokens": "coalesce(sum(e.total_tokens)"
    " FILTER (WHERE e.usage_source <> 'provider'), 0)::bigint",
    "unpriced_tokens": "coalesce(sum(e.total_tokens) FILTER (WHERE e.cost IS NULL), 0)::bigint",
    "unpriced_requests": "count(*) FILTER (WHERE e.kind = 'usage' AND e.cost IS NULL)",
    "cost": "coalesce(sum(e.cost), 0)",
    "credit": "coalesce(sum(e.credit), 0)",
}
_MONEY = ("cost", "credit")
_STORED = tuple(_OF_ENTRIES)
# The price is never stored: margins may still change for days that are not closed.
SUMS = (*_STORED, "price")
_HISTOGRAMS = ("latency_histogram", "ttft_histogram")
# LATERAL and OFFSET 0: one look into the index for each day that is not rolled up, whatever the
# planner believes about their number. It would rather read all of a large ledger.
_FRESH = "e.tenant_id = f.tenant_id AND e.local_day = f.local_day"
_ENTRIES = f"LATERAL (SELECT * FROM usage_app_ledgerentry e WHERE {_FRESH} OFFSET 0)"
_COLUMNS = ", ".join(("cost_center", "api_key_id", "model", *_STORED, *_HISTOGRAMS))


def _histogram_of_entries(bucket: str) -> str:
    counts = (f"count(*) FILTER (WHERE e.{bucket} = {place})" for place in range(BUCKETS))
    return f"ARRAY[{', '.join(counts)}]"


def _histogram_of_rows(column: str) -> str:
    sums = (f"coalesce(sum(r.{column}[{place + 1}]), 0)::bigint" for place in range(BUCKETS))
    return f"ARRAY[{', '.join(sums)}]"


def _sum_of_rows(column: str) -> str:
    return f"sum(r.{column})" if column in _MONEY else f"sum(r.{column})::bigint"


# Of roll-up rows `r`: their latencies and times to the first token, added up.
HISTOGRAM_SUMS = ", ".join(map(_histogram_of_rows, _HISTOGRAMS))
_ENTRY_SUMS = ", ".join(f"{sql} AS {name}" for name, sql in _OF_ENTRIES.items())
_ROW_SUMS = ", ".join(f"{_sum_of_rows(name)} AS {name}" for name in _STORED)

# How long an answer took is told of answers alone: a failure or a hang-up would flatter the figure.
# OFFSET 0 keeps the planner from evaluating each bucket once for every counter.
_BUCKETED = f"""
SELECT e.*,
    CASE WHEN e.kind = 'usage' AND e.outcome = 'ok'
        THEN width_bucket(e.latency_ms, ARRAY{list(BOUNDS_MS)}) END AS latency_bucket,
    CASE WHEN e.kind = 'usage'
        THEN width_bucket(e.ttft_ms, ARRAY{list(BOUNDS_MS)}) END AS ttft_bucket
FROM usage_app_ledgerentry e
"""

_OF_GROUP = f"""
{_ENTRY_SUMS}, {_histogram_of_entries("latency_bucket")}, {_histogram_of_entries("ttft_bucket")}
"""

# The same figures as one array, in the order of FIGURES, for `reconcile_sql` to compare.
FIGURES = (
    *_STORED,
    *(f"{name}[{place + 1}]" for name in _HISTOGRAMS for place in range(BUCKETS)),
)
FIGURES_OF_ENTRIES = f"""(ARRAY[{", ".join(_OF_ENTRIES.values())}]::numeric[]
    || {_histogram_of_entries("latency_bucket")}::numeric[]
    || {_histogram_of_entries("ttft_bucket")}::numeric[])"""
FIGURES_OF_ROW = f"""(ARRAY[{", ".join(f"r.{name}" for name in _STORED)}]::numeric[]
    || r.latency_histogram::numeric[] || r.ttft_histogram::numeric[])"""
FIGURES_OF_ROWS = f"""(ARRAY[{", ".join(map(_sum_of_rows, _STORED))}]::numeric[]
    || {"|| ".join(f"{_histogram_of_rows(name)}::numeric[]" for name in _HISTOGRAMS)})"""
BUCKETED = _BUCKETED

CLEAR_DAYS = """
DELETE FROM usage_app_dailyusage
WHERE tenant_id = %(tenant_id)s AND day BETWEEN %(first)s AND %(last)s
"""

FILL_DAYS = f"""
INSERT INTO usage_app_dailyusage (tenant_id, day, {_COLUMNS})
SELECT e.tenant_id, e.local_day, e.cost_center, e.api_key_id, e.model, {_OF_GROUP}
FROM ({_BUCKETED} WHERE e.tenant_id = %(tenant_id)s
    AND e.local_day BETWEEN %(first)s AND %(last)s OFFSET 0) e
GROUP BY e.tenant_id, e.local_day, e.cost_center, e.api_key_id, e.model
"""

CLEAR_HOURS = """
DELETE FROM usage_app_hourlyusage
WHERE tenant_id = %(tenant_id)s AND hour >= %(first_hour)s AND hour < %(end_hour)s
"""

FILL_HOURS = f"""
INSERT INTO usage_app_hourlyusage (tenant_id, hour, {_COLUMNS})
SELECT e.tenant_id, date_trunc('hour', e.created_at, 'UTC') AS hour, e.cost_center, e.api_key_id,
    e.model, {_OF_GROUP}
FROM ({_BUCKETED} WHERE e.tenant_id = %(tenant_id)s
    AND e.created_at >= %(first_hour)s AND e.created_at < %(end_hour)s OFFSET 0) e
GROUP BY e.tenant_id, hour, e.cost_center, e.api_key_id, e.model
"""

CLEAR_MONTH = (
    "DELETE FROM usage_app_monthlyusage WHERE tenant_id = %(tenant_id)s AND month = %(month)s"
)

FILL_MONTH = f"""
INSERT INTO usage_app_monthlyusage (tenant_id, month, {_COLUMNS})
SELECT r.tenant_id, %(month)s, r.cost_center, r.api_key_id, r.model, {_ROW_SUMS},
    {HISTOGRAM_SUMS}
FROM usage_app_dailyusage r
WHERE r.tenant_id = %(tenant_id)s AND r.day >= %(month)s AND r.day < %(next_month)s
GROUP BY r.tenant_id, r.cost_center, r.api_key_id, r.model
"""

# Every transaction that may still write an entry began at or after this instant, and an entry is
# never settled before its transaction began. Sessions of other roles do not show when they began:
# for them there is the margin.
HORIZON = """
SELECT least(clock_timestamp(), min(xact_start)) - make_interval(secs => %s)
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
    AND pid <> pg_backend_pid()
"""

GROUPS_SETTLED_SINCE = """
SELECT e.tenant_id, e.local_day, count(*) FROM usage_app_ledgerentry e
WHERE e.settled_at >= %s GROUP BY e.tenant_id, e.local_day
"""

GROUPS_WITHIN = """
SELECT e.tenant_id, e.local_day, count(*) FROM usage_app_ledgerentry e
WHERE e.tenant_id = %(tenant_id)s AND e.local_day BETWEEN %(first)s AND %(last)s
GROUP BY e.tenant_id, e.local_day
"""

# What was written later than the day it is booked on was admitted in another hour.
LATE_HOURS_SETTLED_SINCE = """
SELECT DISTINCT e.tenant_id, date_trunc('hour', e.created_at, 'UTC') FROM usage_app_ledgerentry e
WHERE e.settled_at >= %s AND e.kind <> 'usage' ORDER BY 2, 1
"""

ADVANCE = """
INSERT INTO usage_app_rollupmark (id, settled_before) VALUES (1, %s)
ON CONFLICT (id) DO UPDATE
SET settled_before = greatest(usage_app_rollupmark.settled_before, excluded.settled_before)
"""

MARK = "SELECT coalesce(max(settled_before), '-infinity')::text FROM usage_app_rollupmark"


# Whose usage: all tenants', that of `tenant_id`, or that of `tenant_ids`.
ALL, ONE, SOME = "", "AND {0}.tenant_id = %(tenant_id)s", "AND {0}.tenant_id = ANY(%(tenant_ids)s)"


def usage(
    groups: Sequence[str],
    *,
    whose: str = ALL,
    one_key: bool = False,
    histograms: bool = False,
    coarse: bool = True,
) -> str:
    """A statement that adds usage up by `groups`, of (tenant_id, day, cost_center, team_id,
    api_key_id, model), over the local days `first` to `last`; exact at any moment. A team is the
    key's. With `histograms` those of latency and time to first token follow the sums.

    Days in which nothing was settled `since` the roll-ups' mark come from roll-ups, all others
    from their entries. `since` must be read before the statement that uses it, or in its snapshot:
    an old mark only makes more days come from entries. Where days are not told apart, and `coarse`,
    whole months come from MonthlyUsage, all else from DailyUsage.
    """
    key = "AND {0}.api_key_id = %(key_id)s" if one_key else ""
    columns = ", ".join("k.team_id" if group == "team_id" else f"r.{group}" for group in groups)
    teams = "LEFT JOIN tenants_app_apikey k ON k.id = r.api_key_id" if "team_id" in groups else ""
    entries, stored, counted, added = _histograms() if histograms else (_ENTRIES, "", "", "")
    read = (*groups, "api_key_id") if teams else groups
    names = "".join(f", {{0}}.{name}" for name in _NAMES if name in read)
    sources = _BY_MONTH if coarse and "day" not in groups else _BY_DAY
    selected = f"{names.format('d')}, {', '.join(f'd.{name}' for name in _STORED)}{stored}"
    rolled_up = _rolled_up(sources, selected, f"{whose.format('d')} {key.format('d')}")
    return f"""
WITH fresh AS MATERIALIZED (
    SELECT DISTINCT e.tenant_id, e.local_day FROM usage_app_ledgerentry e
    WHERE e.settled_at >= %(since)s::timestamptz
        AND e.local_day BETWEEN %(first)s AND %(last)s {whose.format("e")}
), {_APART}, r AS (
    {rolled_up}
    UNION ALL
    SELECT e.tenant_id, e.local_day{names.format("e")}, {_ENTRY_SUMS}{counted}
    FROM fresh f
    JOIN {entries} e ON e.tenant_id = f.tenant_id AND e.local_day = f.local_day
    WHERE true {key.format("e")}
    GROUP BY e.tenant_id, e.local_day{names.format("e")}
), m AS (
    SELECT tenant_id, valid_from, percent,
        lead(valid_from) OVER (PARTITION BY tenant_id ORDER BY valid_from) AS valid_to
    FROM usage_app_margin
)
SELECT {columns}, {_ROW_SUMS},
    sum(r.cost * (1 + coalesce(m.percent, 0) * 0.01) + r.credit) AS price{added}
FROM r {teams} LEFT JOIN m ON m.tenant_id = r.tenant_id AND r.day >= m.valid_from
    AND (m.valid_to IS NULL OR r.day < m.valid_to)
GROUP BY {columns} ORDER BY {columns}
"""


# The first day of the first whole month of the span, and the day after the last one: constants, of
# which the planner can see what they leave.
_WHOLE_FROM = "date_trunc('month', %(first)s::date::timestamp + interval '1 month - 1 day')::date"
_WHOLE_TO = "date_trunc('month', %(last)s::date::timestamp + interval '1 day')::date"
# Months that cannot be taken whole: with a day that is not rolled up, or with two margins.
_APART = """apart AS MATERIALIZED (
    SELECT tenant_id, date_trunc('month', local_day::timestamp)::date AS month FROM fresh
    UNION
    SELECT tenant_id, date_trunc('month', valid_from::timestamp)::date FROM usage_app_margin
    WHERE extract(day FROM valid_from) <> 1
)"""
_NOT_FRESH = "(d.tenant_id, d.day) NOT IN (SELECT tenant_id, local_day FROM fresh)"
_NAMES = ("cost_center", "api_key_id", "model")
_DAYS = "usage_app_dailyusage d"
_OF_APART = (
    "d.tenant_id = a.tenant_id AND d.day >= a.month AND d.day < a.month + interval '1 month'"
)

# Where rows come from: the column that is their day, the table, and which of its rows.
_Source = tuple[str, str, str]
_BY_DAY: Sequence[_Source] = (
    ("day", _DAYS, f"d.day BETWEEN %(first)s AND %(last)s AND {_NOT_FRESH}"),
)
_BY_MONTH: Sequence[_Source] = (
    (
        "month",
        "usage_app_monthlyusage d",
        (
            f"d.month >= {_WHOLE_FROM} AND d.month < {_WHOLE_TO}"
            " AND (d.tenant_id, d.month) NOT IN (SELECT tenant_id, month FROM apart)"
        ),
    ),
    (
        "day",
        f"apart a JOIN {_DAYS} ON {_OF_APART}",
        f"a.month >= {_WHOLE_FROM} AND a.month < {_WHOLE_TO} AND {_NOT_FRESH}",
    ),
    # What lies before the whole months, and after them; all, where there is none.
    (
        "day",
        _DAYS,
        f"d.day >= %(first)s AND d.day <= %(last)s AND d.day < {_WHOLE_FROM} AND {_NOT_FRESH}",
    ),
    (
        "day",
        _DAYS,
        f"d.day >= greatest({_WHOLE_FROM}, {_WHOLE_TO}) AND d.day <= %(last)s AND {_NOT_FRESH}",
    ),
)


def _rolled_up(sources: Sequence[_Source], selected: str, scope: str) -> str:
    return "UNION ALL".join(
        f"""
    SELECT d.tenant_id, d.{day} AS day{selected}
    FROM {table} WHERE {where} {scope}
    """
        for day, table, where in sources
    )


def _histograms() -> tuple[str, str, str, str]:
    """Where the entries come from, and what is selected of roll-ups, of entries and of both."""
    buckets = zip(_HISTOGRAMS, ("latency_bucket", "ttft_bucket"), strict=True)
    return (
        f"LATERAL ({_BUCKETED} WHERE {_FRESH} OFFSET 0)",
        "".join(f", d.{name}" for name in _HISTOGRAMS),
        "".join(f", {_histogram_of_entries(of)} AS {name}" for name, of in buckets),
        "".join(f", {_histogram_of_rows(name)} AS {name}" for name in _HISTOGRAMS),
    )
